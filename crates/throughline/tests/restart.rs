//! A log that grows is published line by line while the realm is killed and started again.

mod realm;

use realm::Realm;

const LINES: usize = 6000;

fn line(number: usize) -> String {
    format!("line {number} {}", "x".repeat(number % 60))
}

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|n| line(n) + "\n").collect()
}

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let mut realm = Realm::start();
    realm.ok("channel create logs --type persistent");
    let mut subscriber = realm.start_command(&format!("subscribe logs --from all --count {LINES}"));
    let mut publisher = realm.start_command("publish logs --lines");
    let mut seen = Vec::new();

    let third = LINES / 3;
    publisher.feed(&lines(0, third));
    // Killed while the first third is under way,
    seen.extend((0..third / 2).map(|_| subscriber.line()));
    realm.kill();
    // fed while it is down,
    publisher.feed(&lines(third, 2 * third));
    realm.restart();
    // and killed again while it catches up.
    seen.extend((0..third).map(|_| subscriber.line()));
    realm.kill();
    realm.restart();
    publisher.feed(&lines(2 * third, LINES));

    assert_eq!(publisher.end(), (true, format!("{LINES}\n")));
    let (succeeded, rest) = subscriber.end();
    assert!(succeeded);
    seen.extend(rest.lines().map(str::to_owned));
    let expected: Vec<String> = (0..LINES).map(line).collect();
    assert!(seen == expected, "the subscriber was given {} lines, not these", seen.len());
    let stored = realm.ok(&format!("subscribe logs --from all --count {LINES}"));
    assert!(stored.lines().eq(&expected), "the channel holds something else");
}

#[test]
fn subscribers_of_a_restored_realm_are_given_its_history_anew() {
    let mut realm = Realm::start();
    realm.ok("channel create logs --type persistent");
    realm.fed("publish logs --lines", b"1\n2\n");
    realm.kill();
    realm.back_up();
    realm.restart();
    realm.fed("publish logs --lines", b"3\n4\n5\n");
    let mut subscriber = realm.start_command("subscribe logs --from all --count 9");
    assert_eq!((1..=5).map(|_| subscriber.line()).collect::<Vec<_>>(), ["1", "2", "3", "4", "5"]);
    realm.kill();
    realm.restore();
    realm.restart_with("", &["--restored"]);
    // Their EIDs are 3 and 4, as those of other events were before.
    realm.fed("publish logs --lines", b"another 3\nanother 4\n");
    assert_eq!(subscriber.end(), (true, "1\n2\nanother 3\nanother 4\n".to_owned()));
}
