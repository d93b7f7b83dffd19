//! What this server is, and what becomes what: for pages and programs that offer it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Number, Value};
use utoipa::ToSchema;

use super::app::App;
use crate::convert::{SourceType, Target};
use crate::wire::{OPTIONS, OptionInfo, OptionKind};

/// What this server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Info {
    /// The version of fxsrv.
    version: &'static str,
    /// Whether a request needs a token; else the gateway shows its own.
    token_required: bool,
    /// The largest file that is taken.
    body_bytes_max: u64,
    /// The largest form of many files.
    form_bytes_max: u64,
    store: StoreInfo,
    /// Whether the status of the servers can be asked for.
    fleet: bool,
}

/// What there is of a store.
#[derive(Serialize, ToSchema)]
struct StoreInfo {
    available: bool,
    /// Whether it lists its files; else it is asked by name.
    listable: bool,
}

/// What becomes what.
#[derive(Serialize, ToSchema)]
pub(super) struct Formats {
    formats: Vec<Format>,
    /// One entry for each name.
    options: Vec<OptionEntry>,
}

/// A type of files.
#[derive(Serialize, ToSchema)]
struct Format {
    /// Its name in this API.
    #[schema(value_type = String, example = "png")]
    id: &'static str,
    #[schema(value_type = String)]
    name: &'static str,
    extensions: &'static [&'static str],
    media_types: [&'static str; 1],
    targets: Vec<TargetEntry>,
}

/// What a type can become.
#[derive(Serialize, ToSchema)]
struct TargetEntry {
    /// The value of `to`.
    #[schema(value_type = String)]
    id: &'static str,
    /// Names of the options that it has a use for.
    options: Vec<&'static str>,
}

/// An option. Where targets differ, choices are joined, and there is no default.
#[derive(Serialize, ToSchema)]
struct OptionEntry {
    #[schema(value_type = String)]
    name: &'static str,
    #[serde(flatten)]
    described: Described,
    /// What counts for each target.
    targets: BTreeMap<&'static str, Described>,
}

/// What an option may be.
#[derive(Serialize, ToSchema, Clone)]
struct Described {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    max: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<&'static str>>,
    /// A number, a truth value or a text, by the kind.
    default: Value,
    help: String,
}

/// How the value of an option is written.
#[derive(Serialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Integer,
    Number,
    Boolean,
    Colour,
    Choice,
}

/// What this server is
#[utoipa::path(
    get, path = "/v1/info", tag = "status",
    responses((status = 200, description = "Version, limits, and what there is", body = Info))
)]
pub(super) async fn info(State(app): State<App>) -> Json<Info> {
    let config = app.config();
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        token_required: config.token.is_none(),
        body_bytes_max: config.limits.body_bytes_max,
        form_bytes_max: config.limits.form_bytes_max,
        store: StoreInfo {
            available: config.store.is_some(),
            listable: config.store.as_ref().is_some_and(|store| store.root.is_some()),
        },
        fleet: true,
    })
}

/// What becomes what
///
/// Types, what they can become, and the options of each target.
#[utoipa::path(
    get, path = "/v1/formats", tag = "convert",
    responses((status = 200, description = "Types and options", body = Formats))
)]
pub(super) async fn formats() -> Json<Formats> {
    let formats = SourceType::ALL.into_iter().map(format).collect();
    Json(Formats { formats, options: options() })
}

/// The name of a target in this API.
pub(super) fn id(target: Target) -> &'static str {
    target.extensions()[0]
}

fn format(source: SourceType) -> Format {
    let own = source.as_target();
    let target = |&target: &Target| {
        let options = OPTIONS.iter().filter(|option| option.targets.contains(&target));
        TargetEntry { id: id(target), options: options.map(|option| option.name).collect() }
    };
    Format {
        id: id(own),
        name: own.title(),
        extensions: own.extensions(),
        media_types: [own.media_type()],
        targets: source.targets().iter().map(target).collect(),
    }
}

fn options() -> Vec<OptionEntry> {
    let mut entries: Vec<OptionEntry> = Vec::new();
    for info in &OPTIONS {
        let own = Described::of(info);
        let targets = info.targets.iter().map(|&target| (id(target), own.clone()));
        if let Some(known) = entries.iter_mut().find(|entry| entry.name == info.name) {
            known.targets.extend(targets);
            known.described.merge(own);
        } else {
            let targets = targets.collect();
            entries.push(OptionEntry { name: info.name, described: own, targets });
        }
    }
    entries
}

impl Described {
    fn of(info: &OptionInfo) -> Self {
        let mut described = Self {
            kind: Kind::Choice,
            min: None,
            max: None,
            choices: None,
            default: info.default.into(),
            help: info.help.to_owned(),
        };
        let as_number =
            |text: &str| text.parse().ok().and_then(number).map_or(Value::Null, Value::Number);
        match info.kind {
            OptionKind::Integer(min, max) => {
                described.kind = Kind::Integer;
                (described.min, described.max) = (Some(min.into()), Some(max.into()));
                described.default = as_number(info.default);
            }
            OptionKind::Number(min, max) => {
                described.kind = Kind::Number;
                (described.min, described.max) = (number(min.into()), number(max.into()));
                described.default = as_number(info.default);
            }
            OptionKind::Boolean => {
                described.kind = Kind::Boolean;
                described.default = (info.default == "1").into();
            }
            OptionKind::Colour => described.kind = Kind::Colour,
            OptionKind::Choice(choices) => described.choices = Some(choices.to_vec()),
        }
        described
    }

    /// What two targets differ in is no property of the option as such.
    fn merge(&mut self, other: Self) {
        if self.default != other.default {
            self.default = Value::Null;
        }
        if self.help != other.help {
            self.help = format!("{} {}", self.help, other.help);
        }
        if let (Some(choices), Some(more)) = (&mut self.choices, other.choices) {
            choices.extend(more);
        }
    }
}

/// Whole numbers without a fraction, as people write them.
#[allow(clippy::cast_possible_truncation, reason = "whole, and at most 500")]
fn number(value: f64) -> Option<Number> {
    if value.fract() == 0.0 { Some((value as i64).into()) } else { Number::from_f64(value) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn as_json(value: impl Serialize) -> Value {
        serde_json::to_value(value).unwrap_or_default()
    }

    #[test]
    fn an_option_has_one_entry_and_says_what_its_targets_differ_in() {
        let options: Vec<Value> = options().into_iter().map(as_json).collect();
        let entry = |name: &str| {
            let mut named = options.iter().filter(|entry| entry["name"] == name);
            let first = named.next().cloned();
            assert!(named.next().is_none(), "{name}");
            first.unwrap_or_default()
        };
        let quality = entry("quality");
        assert_eq!((&quality["min"], &quality["max"]), (&json!(1), &json!(100)));
        assert_eq!(quality["default"], Value::Null);
        assert_eq!(quality["targets"]["jpg"]["default"], 75);
        assert_eq!(quality["targets"]["webp"]["default"], 80);
        let layout = entry("layout");
        assert_eq!(layout["choices"], json!(["plain", "flow", "reading", "physical"]));
        assert_eq!(layout["targets"]["txt"]["choices"], json!(["reading", "physical"]));
        assert_eq!(entry("margin")["default"], 20);
        assert_eq!(entry("lossless")["default"], false);
    }

    #[test]
    fn every_option_of_a_target_is_described() {
        let names: Vec<_> = options().iter().map(|entry| entry.name).collect();
        for target in SourceType::ALL.into_iter().flat_map(|source| format(source).targets) {
            for option in target.options {
                assert!(names.contains(&option), "{option}");
            }
        }
    }
}
