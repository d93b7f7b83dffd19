//! What a message of the queue says.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::super::run::Errand;
use super::super::{Address, Trouble};
use super::QueueError;
use crate::convert::Target;
use crate::wire::{Operation, RequestOptions};

/// A file to convert. Addresses alone: the file lies where it lies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    pub(super) job: String,
    /// The file's number within the job, made of its address.
    pub(super) file: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The extension of what it becomes.
    pub(super) target: String,
    /// Lines of the wire's options.
    pub(super) options: String,
    pub(super) replace: bool,
    /// How often it was put on the queue again after it had failed for good.
    #[serde(default)]
    pub(super) round: u32,
}

impl Task {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Strings and numbers always have a form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        serde_json::from_slice(bytes)
            .map_err(|error| Trouble::not_allowed(format!("the message is no task: {error}")))
    }

    /// What the same message is told by, however often it is sent.
    pub(super) fn message_id(&self) -> String {
        format!("{}.{}.{}", self.job, self.file, self.round)
    }

    /// What is to be done. Everything in it came over the network.
    pub(super) fn errand(&self) -> Result<Errand, Trouble> {
        let target = Target::from_extension(&self.target)
            .ok_or_else(|| Trouble::not_allowed("the target is none"))?;
        let options = RequestOptions::parse(self.options.as_bytes(), Operation::Convert(target))?;
        Ok(Errand {
            from: Address::parse(self.from.as_bytes())?,
            to: Address::parse(self.to.as_bytes())?,
            convert: target,
            options: Arc::new(options.convert),
            replace: self.replace,
        })
    }
}

/// The number of a file, of its address.
pub(super) fn file_number(from: &str) -> String {
    format!("{:032x}", xxh3_128(from.as_bytes()))
}

/// A job's name is part of subjects, keys and the name of a stream.
pub(super) fn check_job(name: &str) -> Result<(), QueueError> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=64).contains(&name.len()) && name.bytes().all(is_sound) {
        return Ok(());
    }
    Err(QueueError::JobName(name.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Task {
        Task {
            job: "j".to_owned(),
            file: file_number("s3://b/a.png"),
            from: "s3://b/a.png".to_owned(),
            to: "s3://b/out/a.jpg".to_owned(),
            target: "jpg".to_owned(),
            options: "quality=80\n".to_owned(),
            replace: false,
            round: 0,
        }
    }

    #[test]
    fn a_task_comes_back_as_it_went() {
        let task = sample();
        assert_eq!(Task::parse(&task.encode()).unwrap(), task);
        let errand = task.errand().unwrap();
        assert_eq!(errand.options.quality.map(crate::convert::Quality::value), Some(80));
        assert_eq!(errand.to.to_string(), task.to);
    }

    #[test]
    fn hostile_tasks_are_refused() {
        for text in ["", "{}", "null", "{\"job\":1}"] {
            assert!(Task::parse(text.as_bytes()).is_err(), "{text}");
        }
        for task in [
            Task { target: "exe".to_owned(), ..sample() },
            Task { options: "quality=1000\n".to_owned(), ..sample() },
            Task { from: String::new(), ..sample() },
            Task { to: "s3://b".to_owned(), ..sample() },
        ] {
            assert!(task.errand().is_err(), "{task:?}");
        }
    }

    #[test]
    fn names_of_jobs_fit_subjects() {
        assert!(check_job("night-2026_11").is_ok());
        for name in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(65)] {
            assert!(check_job(name).is_err(), "{name}");
        }
    }
}
