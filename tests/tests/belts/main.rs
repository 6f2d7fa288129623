//! One suite for both belts: PulseCal's own and stock apalis-redis, each with the real worker, scheduler and command line,
//! through every way in which stock apalis-redis is known to fail by itself. The numbers in the tests' names are the rows of
//! that list. What a belt still cannot do is in [`KNOWN_FAILURES`], and is asserted to fail.

mod crashes;
mod kinds_of_end;
mod load;
mod operators;
mod redis_faults;
mod set_up;
mod stops;

/// The belt that a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belt {
    /// PulseCal's own.
    Native,
    /// Stock apalis-redis.
    ApalisRedis,
}

impl Belt {
    /// The value of `BELT`.
    pub fn name(self) -> &'static str {
        match self {
            Belt::Native => "native",
            Belt::ApalisRedis => "apalis-redis",
        }
    }
}

/// What a belt still cannot do, ledger or not: the test, the belt, the reason. The test then asserts that it fails, so that an
/// entry that is no longer true is noticed.
const KNOWN_FAILURES: &[(&str, Belt, &str)] = &[(
    "an_urgent_job_overtakes_a_backlog",
    Belt::ApalisRedis,
    "stock has no priorities: what the shuttle moved into its queue, 512 tasks at most, goes before",
)];

/// Why this test is to fail on this belt; none: it is to pass.
pub fn known_failure(test: &str, belt: Belt) -> Option<&'static str> {
    KNOWN_FAILURES.iter().find(|(name, on, _)| *name == test && *on == belt).map(|(_, _, why)| *why)
}

/// Makes of each `async fn name(belt: Belt)` a test for each belt.
macro_rules! on_both_belts {
    ($($name:ident),+ $(,)?) => {
        mod native {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $name() {
                super::$name(crate::Belt::Native).await;
            })+
        }
        mod apalis_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $name() {
                super::$name(crate::Belt::ApalisRedis).await;
            })+
        }
    };
}
pub(crate) use on_both_belts;

/// As [`on_both_belts`], for tests that mostly wait: one test each, which runs on both belts at the same time.
macro_rules! on_both_belts_at_once {
    ($($name:ident),+ $(,)?) => {
        mod both {
            $(#[test]
            fn $name() {
                crate::at_once(stringify!($name), super::$name);
            })+
        }
    };
}
pub(crate) use on_both_belts_at_once;

/// Runs a test on both belts, each on a thread that is named after its belt, so that a panic says which it was.
pub fn at_once<F: Future<Output = ()>>(name: &str, test: fn(Belt) -> F) {
    std::thread::scope(|scope| {
        for belt in [Belt::Native, Belt::ApalisRedis] {
            let thread = std::thread::Builder::new().name(format!("{name} on {}", belt.name()));
            let run = move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                runtime.expect("a runtime").block_on(test(belt));
            };
            thread.spawn_scoped(scope, run).expect("a thread");
        }
    });
}
