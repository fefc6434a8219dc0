use crate::{Test, world::World};
use std::time::Instant;
pub(crate) const TESTS: &[Test] = &[("rate", rate)];
fn rate() {
    for cg in ["\"auto\"", "\"none\""] {
    for window in [1usize, 4, 16, 64] {
        let world = World::new();
        world.set("max_tasks", window.to_string());
        world.set("cgroup", cg);
        std::fs::copy("/bin/true", world.path("scores/true")).unwrap();
        world.start();
        let n = if window == 1 { 500 } else { 3000 };
        let begin = Instant::now();
        let mut open = std::collections::VecDeque::new();
        let mut sent = 0;
        while sent < n || !open.is_empty() {
            while sent < n && open.len() < window {
                open.push_back(world.order("true", &[]));
                sent += 1;
            }
            let key = open.pop_front().unwrap();
            world.ended(key);
            world.acknowledge(key);
        }
        let took = begin.elapsed();
        let pss = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", world.pid())).unwrap();
        let pss = pss.lines().find(|l| l.starts_with("Pss:")).unwrap().to_owned();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.pid())).unwrap();
        let f: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        println!("cgroup {cg} window {window}: {:.0}/s; {pss}; utime {} stime {} ticks cutime {} cstime {}", n as f64 / took.as_secs_f64(), f[11], f[12], f[13], f[14]);
        println!("journal {} bytes", std::fs::metadata(world.path("spool/journal")).unwrap().len());
    }}
}
