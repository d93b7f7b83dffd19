//! What a worker tells of itself: the answer to a status request, read.

/// The numbers of a worker's status that a master shows. A worker of another make may tell fewer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) is_leaving: bool,
    /// It says that it should get no requests.
    pub(super) is_unready: bool,
    pub(super) slots: Option<u64>,
    pub(super) busy: Option<u64>,
    pub(super) queued: Option<u64>,
    pub(super) memory_budget_left: Option<u64>,
    pub(super) oldest_job_ms: Option<u64>,
    pub(super) children: Option<u64>,
    pub(super) children_lost: Option<u64>,
}

impl Report {
    /// Reads lines of `key=value`. Keys that are not known here are passed over, and so is a value
    /// that is no number: it comes from another machine, and nothing depends on it but what is shown.
    pub(super) fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let number = value.parse().ok();
            match key {
                "state" => report.is_leaving = value == "draining",
                "health" => report.is_unready = value == "unready",
                "slots" => report.slots = number,
                "busy" => report.busy = number,
                // Those that wait for their turn, and those that have it and wait for a slot.
                "queued" | "waiting" => report.queued = add(report.queued, number),
                "memory_budget_left" => report.memory_budget_left = number,
                "oldest_job_ms" | "oldest_waiting_ms" => {
                    report.oldest_job_ms = report.oldest_job_ms.max(number);
                }
                "children" => report.children = number,
                "children_lost" => report.children_lost = number,
                _ => {}
            }
        }
        report
    }
}

fn add(before: Option<u64>, number: Option<u64>) -> Option<u64> {
    number.map_or(before, |number| Some(before.unwrap_or(0).saturating_add(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_and_the_rest_is_passed_over() {
        let text = "role=worker\nstate=draining\nhealth=unready\nslots=2\nbusy=x\n\nqueued=3\nnew=1\nmemory_budget_left=-1";
        let report = Report {
            is_leaving: true,
            is_unready: true,
            slots: Some(2),
            queued: Some(3),
            ..Report::default()
        };
        assert_eq!(Report::parse(text), report);
        assert_eq!(Report::parse(""), Report::default());
        let report = Report::parse("queued=3\noldest_job_ms=5\nwaiting=4\noldest_waiting_ms=9");
        assert_eq!((report.queued, report.oldest_job_ms), (Some(7), Some(9)));
    }
}
