//! Which workers a master is to have, as flags and files say it.

use crate::client::{Address, AddressError};

/// Workers of one master. 256 of them are asked how they are 256 times a second, which takes a few
/// percent of a core.
pub const WORKERS_MAX: usize = 256;

/// A worker of weight 1000 gets as much as a thousand of weight 1; more is hardly meant.
const WEIGHT_MAX: u32 = 1000;

/// The workers of a master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerList {
    /// Given one by one.
    pub named: Vec<WorkerSpec>,
    /// A name, every address of which is a worker.
    pub dns: Option<Address>,
}

/// One worker, as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Where it is, and which name its certificate must have.
    pub address: Address,
    /// Its share: a worker of weight 3 gets three times as much as one of weight 1, and one of
    /// weight 0 is watched and gets nothing.
    pub weight: u32,
}

/// Why a text is no list of workers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerListError {
    /// One is no address.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// A weight is none.
    #[error("'{0}' is no weight; a weight is a number from 0 to {WEIGHT_MAX}")]
    Weight(String),
    /// A weight has nothing before it.
    #[error("'weight={0}' follows no worker; a worker is HOST:PORT or HOST:PORT,weight=N")]
    Stray(String),
    /// One is there twice.
    #[error("{0} is listed twice; give it a weight instead")]
    Twice(String),
    /// More than a master has.
    #[error("{0} workers are more than the {WORKERS_MAX} that a master can have")]
    TooMany(usize),
    /// Nothing at all.
    #[error("there is no worker in it")]
    Empty,
}

impl WorkerList {
    /// Reads items such as `10.0.0.2:6000`, `[::1]:6000,weight=3` or `a:1,b:2,weight=2`, and takes
    /// the name whose addresses are workers.
    ///
    /// # Errors
    ///
    /// An item is neither a worker nor a weight, one is listed twice, or there is none at all.
    pub fn parse(items: &[String], dns: Option<Address>) -> Result<Self, WorkerListError> {
        let mut named: Vec<WorkerSpec> = Vec::new();
        for item in items.iter().flat_map(|item| item.split(',')).map(str::trim) {
            if let Some(weight) = item.strip_prefix("weight=") {
                let last = named.last_mut();
                let last = last.ok_or_else(|| WorkerListError::Stray(weight.to_owned()))?;
                last.weight = parse_weight(weight)?;
                continue;
            }
            let address: Address = item.parse()?;
            if named.iter().any(|spec| spec.address == address) {
                return Err(WorkerListError::Twice(address.to_string()));
            }
            named.push(WorkerSpec { address, weight: 1 });
        }
        match named.len() {
            0 if dns.is_none() => Err(WorkerListError::Empty),
            count if count > WORKERS_MAX => Err(WorkerListError::TooMany(count)),
            _ => Ok(Self { named, dns }),
        }
    }
}

impl std::fmt::Display for WorkerList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = self.named.iter().map(|WorkerSpec { address, weight }| match weight {
            1 => address.to_string(),
            weight => format!("{address} (weight {weight})"),
        });
        let dns = self.dns.iter().map(|address| format!("every address of {address}"));
        f.write_str(&named.chain(dns).collect::<Vec<_>>().join(", "))
    }
}

fn parse_weight(text: &str) -> Result<u32, WorkerListError> {
    let weight = text.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| WorkerListError::Weight(text.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(items: &[&str]) -> Result<WorkerList, WorkerListError> {
        WorkerList::parse(&items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>(), None)
    }

    #[test]
    fn workers_and_weights_come_in_one_text_or_in_many() {
        let expected = "a:1, [::1]:2 (weight 3), c:3";
        // A flag, a variable that was split at its commas, and a variable as it is.
        for items in [
            &["a:1", "[::1]:2,weight=3", "c:3"][..],
            &["a:1", "[::1]:2", "weight=3", "c:3"],
            &["a:1, [::1]:2 ,weight=3,c:3"],
        ] {
            assert_eq!(parse(items).unwrap().to_string(), expected);
        }
        let dns = WorkerList::parse(&[], Some("workers.internal:6000".parse().unwrap())).unwrap();
        assert_eq!(dns.to_string(), "every address of workers.internal:6000");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |items: &[&str]| parse(items).unwrap_err().to_string();
        assert_eq!(message(&[]), "there is no worker in it");
        assert!(message(&["a"]).starts_with("'a' has no port"));
        assert_eq!(
            message(&["a:1", "b:2", "a:1"]),
            "a:1 is listed twice; give it a weight instead"
        );
        assert!(message(&["weight=2"]).starts_with("'weight=2' follows no worker"));
        for weight in ["", "-1", "1.5", "1001", "x"] {
            let said = message(&[&format!("a:1,weight={weight}")]);
            assert_eq!(
                said,
                format!("'{weight}' is no weight; a weight is a number from 0 to 1000")
            );
        }
        let many: Vec<String> = (0..=WORKERS_MAX).map(|port| format!("a:{port}")).collect();
        assert_eq!(WorkerList::parse(&many, None).unwrap_err(), WorkerListError::TooMany(257));
    }
}
