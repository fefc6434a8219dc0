//! Limits that somebody set for this process, and that will be felt: told at the start.
//!
//! A limit is the host's own decision, so a daemon lifts none of these. It says what will happen
//! when one is reached, because what happens then does not always say it.

use rustix::process::{Resource, Rlimit, getrlimit};

/// Fewer open files than this are soon used up.
const FEW_FILES: u64 = 256;

/// Warns in the log of each limit that will be felt.
pub fn tell() {
    felt(getrlimit).iter().for_each(|text| tracing::warn!("{text}"));
}

fn felt(limit: impl Fn(Resource) -> Rlimit) -> Vec<String> {
    let file = limit(Resource::Fsize).current.map(|bytes| {
        format!(
            "a file may have {bytes} bytes and no more (RLIMIT_FSIZE): a file that would grow \
             further is treated as one on a full disk; LimitFSIZE=infinity lifts that"
        )
    });
    // Of the lower limit the kernel tells by a signal that a daemon outlives.
    let processor = limit(Resource::Cpu).maximum.map(|seconds| {
        format!(
            "the kernel kills this process after {seconds} s of processor time (RLIMIT_CPU); \
             LimitCPU=infinity lifts that"
        )
    });
    let memory = |resource, name| {
        limit(resource).current.map(|bytes| {
            format!(
                "this process may have {bytes} bytes of memory (RLIMIT_{name}), and ends when it \
                 needs more; Limit{name}=infinity lifts that"
            )
        })
    };
    let files = limit(Resource::Nofile).maximum.filter(|files| *files < FEW_FILES).map(|files| {
        format!(
            "this process may open {files} files at once and no more (RLIMIT_NOFILE): what needs \
             another one fails; LimitNOFILE= raises that"
        )
    });
    let memories = [memory(Resource::As, "AS"), memory(Resource::Data, "DATA")];
    [file, processor, files].into_iter().chain(memories).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_where_it_will_be_felt() {
        let none = Rlimit { current: None, maximum: None };
        let of = |which: Resource, current, maximum| {
            felt(move |asked| if asked == which { Rlimit { current, maximum } } else { none })
        };
        assert_eq!(of(Resource::Core, Some(0), Some(0)), Vec::<String>::new());
        assert_eq!(of(Resource::Nofile, Some(16), Some(4_096)), Vec::<String>::new());
        assert_eq!(of(Resource::Cpu, Some(5), None), Vec::<String>::new());
        for (which, name) in [
            (Resource::Fsize, "512 bytes and no more (RLIMIT_FSIZE)"),
            (Resource::Cpu, "512 s of processor time (RLIMIT_CPU)"),
            (Resource::As, "512 bytes of memory (RLIMIT_AS)"),
            (Resource::Data, "512 bytes of memory (RLIMIT_DATA)"),
        ] {
            let told = of(which, Some(512), Some(512));
            assert!(told.len() == 1 && told[0].contains(name), "{told:?}");
        }
        assert_eq!(of(Resource::Nofile, Some(16), Some(64)).len(), 1);
    }
}
