//! The shortest way through everything.

use crate::harness::Fleet;

#[test]
fn a_score_runs_on_every_player_and_its_output_comes_back() {
    let fleet = Fleet::new("p[1-2]").start();
    let ran = fleet.submitjob(&["hello", "name=fleet", "-w", "@all", "--wait"]).exits(0);
    let flow = ran.id();
    fleet.getstatus(&[&flow.to_string()]).exits(0);
    let gathered = fleet.getstatus(&["last", "-L"]).exits(0);
    for player in ["p1", "p2"] {
        let line = format!("{player}: hello fleet, this is {player}");
        assert!(gathered.out.contains(&line), "{gathered}");
    }
}
