//! What middleboxes do to connections, and how that changes under way.

use crate::random::Random;

/// The kinds of exchange that a middlebox can tell apart: the six transports, and the uplink of those on HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A WebSocket connection.
    WebSocket,
    /// A response read as it comes.
    HttpStream,
    /// Server-sent events.
    EventSource,
    /// A document that never ends.
    IframeStream,
    /// A poll.
    LongPoll,
    /// A poll by a script element.
    JsonpPoll,
    /// A piece of a client's messages.
    Uplink,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 7] = [
        Class::WebSocket,
        Class::HttpStream,
        Class::EventSource,
        Class::IframeStream,
        Class::LongPoll,
        Class::JsonpPoll,
        Class::Uplink,
    ];

    const fn is_stream(self) -> bool {
        matches!(self, Class::HttpStream | Class::EventSource | Class::IframeStream)
    }

    const fn is_short(self) -> bool {
        matches!(self, Class::LongPoll | Class::JsonpPoll | Class::Uplink)
    }
}

/// What a middlebox does to a connection. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Sound,
    /// Answers itself: 403 or 502.
    Refuse,
    /// Resets it.
    Reset,
    /// Takes everything and answers nothing.
    BlackHole,
    /// Cuts it so long after it was opened.
    Cut(u64),
    /// Lets the answer's head and so many messages of each direction pass, and nothing more.
    Swallow(u32),
    /// The request passes, the answer does not.
    LoseReply,
    /// The request passes; when the answer comes, the connection is reset.
    ResetReply,
    /// Sends a request twice and passes on the second answer.
    Repeat,
    /// Keeps the response until it ends.
    BufferToEnd,
    /// Passes the response on in parts of so many bytes.
    Buffer(u32),
    /// Ends it cleanly at this age.
    Age(u64),
    /// Forgets it, without a word, when so long nothing passed.
    Idle(u64),
    /// Answers 504 when the server has not begun to answer by then.
    Impatient(u64),
    /// Delays everything by so much.
    Slow(u64),
}

impl Rule {
    /// Names of the rules that break something, for the count of those that were met.
    pub const NAMES: [&'static str; 15] = [
        "sound",
        "refuse",
        "reset",
        "black hole",
        "cut",
        "swallow",
        "reply lost",
        "reply reset",
        "request repeated",
        "buffered to the end",
        "buffered by bytes",
        "cut at age",
        "idle drop",
        "impatient",
        "slow",
    ];

    /// Its place in [`Rule::NAMES`].
    pub const fn index(self) -> usize {
        match self {
            Rule::Sound => 0,
            Rule::Refuse => 1,
            Rule::Reset => 2,
            Rule::BlackHole => 3,
            Rule::Cut(_) => 4,
            Rule::Swallow(_) => 5,
            Rule::LoseReply => 6,
            Rule::ResetReply => 7,
            Rule::Repeat => 8,
            Rule::BufferToEnd => 9,
            Rule::Buffer(_) => 10,
            Rule::Age(_) => 11,
            Rule::Idle(_) => 12,
            Rule::Impatient(_) => 13,
            Rule::Slow(_) => 14,
        }
    }

    /// One that fits a class of exchange.
    fn any(class: Class, random: &mut Random) -> Rule {
        match random.below(if class.is_short() { 12 } else { 11 }) {
            0 => Rule::Refuse,
            1 => Rule::Reset,
            2 => Rule::BlackHole,
            3 => Rule::Cut(20 + random.below(600)),
            4 => Rule::Slow(100 + random.below(1500)),
            5 if class.is_short() => Rule::Repeat,
            5 => Rule::Swallow(0),
            6 if class.is_short() => Rule::ResetReply,
            6 => Rule::Swallow(random.below(6) as u32),
            7 if class.is_short() => Rule::LoseReply,
            7 => Rule::Cut(600 + random.below(12_000)),
            8 if class.is_stream() => Rule::BufferToEnd,
            8 if class == Class::WebSocket => Rule::LoseReply,
            8 => Rule::Impatient(1000 + random.below(12_000)),
            9 if class.is_stream() => Rule::Buffer(16_384),
            9 => Rule::Idle(2000 + random.below(20_000)),
            10 => Rule::Age(3000 + random.below(20_000)),
            _ => Rule::Repeat,
        }
    }
}

/// What the path does to each class of exchange now.
#[derive(Clone, Debug)]
pub struct Weather {
    rules: [Rule; 7],
}

impl Weather {
    /// A path that lets everything pass.
    pub const FAIR: Weather = Weather { rules: [Rule::Sound; 7] };

    /// The rule for a class.
    pub fn rule(&self, class: Class) -> Rule {
        self.rules[class as usize]
    }

    /// Some other weather.
    pub fn any(random: &mut Random) -> Weather {
        let mut rules = [Rule::Sound; 7];
        let mut spoil = |classes: &[Class], random: &mut Random| {
            for class in classes {
                rules[*class as usize] = Rule::any(*class, random);
            }
        };
        match random.below(10) {
            0 => {}
            1..4 => spoil(&Class::ALL[..1], random),
            4 | 5 => spoil(&Class::ALL[..4], random),
            6 => spoil(&Class::ALL[1..], random),
            7 => {
                let rule = [Rule::Refuse, Rule::Reset, Rule::BlackHole][random.index(3)];
                rules = [rule; 7];
            }
            _ => {
                for class in Class::ALL {
                    if random.one_in(2) {
                        rules[class as usize] = Rule::any(class, random);
                    }
                }
            }
        }
        Weather { rules }
    }
}
