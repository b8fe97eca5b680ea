//! A session with its ladder and its candidates, over paths that break.

mod world;

use proptest::prelude::*;
use throughline_wire::path::{Group, Transport};
use world::{Fault, World};

const MINUTE: u64 = 60_000;

/// A way in which paths break: its name, what it does to each transport, and when the first event has to be there.
type Case = (&'static str, fn(Transport) -> Fault, u64);

const fn websocket(transport: Transport, fault: Fault) -> Fault {
    if matches!(transport, Transport::WebSocket) { fault } else { Fault::None }
}

fn all_but_polls(transport: Transport, fault: Fault) -> Fault {
    if transport.group() == Group::Polls { Fault::None } else { fault }
}

const MATRIX: [Case; 11] = [
    ("nothing", |_| Fault::None, 1_000),
    ("WebSocket refused", |t| websocket(t, Fault::Refuse), 1_000),
    ("WebSocket swallowed by a black hole", |t| websocket(t, Fault::BlackHole), 2_000),
    ("WebSocket cut at 200 ms before any frame", |t| websocket(t, Fault::CutMute(200)), 1_000),
    ("frames swallowed", |t| websocket(t, Fault::Swallow), 2_000),
    ("first frames, then cut", |t| websocket(t, Fault::Cut(3_000)), 2_000),
    ("frames swallowed and streams buffered", |t| all_but_polls(t, Fault::Swallow), 2_000),
    ("all but polls refused", |t| all_but_polls(t, Fault::Refuse), 1_000),
    ("everything but polls cut at 15 s", |t| all_but_polls(t, Fault::Cut(15_000)), 1_000),
    ("everything cut at 11 s", |_| Fault::Cut(11_000), 1_000),
    ("all but the last one refused", |t| if t == Transport::JsonpPoll { Fault::None } else { Fault::Refuse }, 1_000),
];

#[test]
fn every_fault_is_survived_within_its_time_and_budget() {
    for (name, fault, first) in MATRIX {
        for seed in 0..2 {
            let mut world = World::new(&Transport::ALL, seed);
            world.faults = Transport::ALL.map(fault);
            world.run_until(3 * MINUTE);
            let begun = world.first_event.expect("an event came");
            assert!(begun <= first, "{name}: the first event came after {begun} ms");
            let attempts = world.attempts_a_minute(MINUTE);
            assert!(attempts <= 6, "{name}: {attempts} attempts in a minute; {:?}", world.opened);
            world.faults = [Fault::None; 6];
            world.run_until(4 * MINUTE);
            let live = world.links.live().map(|(_, transport)| transport);
            assert_eq!(live, Some(Transport::WebSocket), "{name}: a minute after the fault was lifted");
            world.finish();
        }
    }
}

#[test]
fn a_healthy_path_uses_one_link() {
    let mut world = World::new(&Transport::ALL, 1);
    world.run_until(10 * MINUTE);
    world.finish();
    assert_eq!(world.opened, [(10, Transport::WebSocket)]);
}

#[test]
fn a_fault_that_comes_and_goes_under_way_costs_nothing_but_time() {
    for (name, fault, _) in MATRIX {
        let mut world = World::new(&Transport::ALL, 7);
        for round in 0..4 {
            world.run_until(world.now + 10_000);
            world.faults = Transport::ALL.map(fault);
            world.run_until(world.now + 20_000);
            world.faults = [Fault::None; 6];
            assert!(world.attempts_a_minute(0) <= 18, "{name}, round {round}");
        }
        world.run_until(world.now + MINUTE);
        world.finish();
        assert_eq!(world.links.live().map(|(_, t)| t), Some(Transport::WebSocket), "{name}");
    }
}

#[test]
fn a_realm_that_is_away_is_asked_at_most_six_times_a_minute() {
    let mut world = World::new(&Transport::ALL, 3);
    world.busy = false;
    world.faults = [Fault::Refuse; 6];
    world.run_until(10 * MINUTE);
    assert!(world.attempts_a_minute(MINUTE) <= 6, "{:?}", world.opened);
    world.faults = [Fault::None; 6];
    world.run_until(world.now + MINUTE);
    world.finish();
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::BlackHole),
        1 => (0..2_000u64).prop_map(Fault::CutMute),
        2 => (0..20_000u64).prop_map(Fault::Cut),
        1 => Just(Fault::Swallow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn whatever_the_paths_do_nothing_is_lost_doubled_or_reordered(
        seed: u64,
        scenes in prop::collection::vec((prop::array::uniform6(fault()), 100..30_000u64), 1..8),
        transports in prop::sample::subsequence(Transport::ALL.to_vec(), 1..=6),
    ) {
        let mut world = World::new(&transports, seed);
        for (faults, time) in scenes {
            world.faults = faults;
            world.run_until(world.now + time);
        }
        world.faults = [Fault::None; 6];
        world.run_until(world.now + 150_000);
        world.finish();
        prop_assert_eq!(world.links.live().map(|(_, t)| t), transports.first().copied(), "{:?} {:?}", world.opened, world.links.path());
        prop_assert!(world.attempts_a_minute(0) <= 18, "{:?}", world.opened);
    }
}
