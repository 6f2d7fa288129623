//! The scheduler process: schedules fire, doses fall due, the belt is fed, dead workers' jobs are rescued.

mod backup_watch;
mod dispatch;
mod gauges;
mod process;
mod rescue;
mod seal;
mod sweep;
mod tick;

pub use process::run;
