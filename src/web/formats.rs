//! What this server is, and what becomes what: for pages and programs that offer it.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::app::App;
use crate::convert::{SourceType, Target};
use crate::wire::{OPTIONS, OptionInfo, OptionKind};

/// What this server is
#[utoipa::path(
    get, path = "/v1/info", tag = "status",
    responses((status = 200, description = "Version, limits, and what there is", body = Value))
)]
pub(super) async fn info(State(app): State<App>) -> Json<Value> {
    let config = app.config();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "token_required": config.token.is_none(),
        "body_bytes_max": config.limits.body_bytes_max,
        "store": {
            "available": config.store.is_some(),
            "listable": config.store.as_ref().is_some_and(|store| store.root.is_some()),
        },
        "fleet": true,
    }))
}

/// What becomes what
///
/// Types, what they can become, and the options of each target.
#[utoipa::path(
    get, path = "/v1/formats", tag = "convert",
    responses((status = 200, description = "Types and options", body = Value))
)]
pub(super) async fn formats() -> Json<Value> {
    let formats: Vec<Value> = SourceType::ALL.into_iter().map(format).collect();
    Json(json!({ "formats": formats, "options": options() }))
}

/// The name of a target in this API.
pub(super) fn id(target: Target) -> &'static str {
    target.extensions()[0]
}

fn format(source: SourceType) -> Value {
    let own = source.as_target();
    let target = |&target: &Target| {
        let options: Vec<_> =
            OPTIONS.iter().filter(|option| option.targets.contains(&target)).collect();
        json!({
            "id": id(target),
            "options": options.iter().map(|option| option.name).collect::<Vec<_>>(),
        })
    };
    json!({
        "id": id(own),
        "name": own.title(),
        "extensions": own.extensions(),
        "media_types": [own.media_type()],
        "targets": source.targets().iter().map(target).collect::<Vec<_>>(),
    })
}

/// One entry for each name. Where its default or its choices depend on the target, `targets` has
/// what counts there.
fn options() -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    for info in &OPTIONS {
        let specific = described(info);
        let known = entries.iter_mut().find(|entry| entry["name"] == info.name);
        let entry = if let Some(known) = known {
            merge(known, &specific);
            known
        } else {
            let mut entry = specific.clone();
            entry["name"] = info.name.into();
            entry["targets"] = json!({});
            entries.push(entry);
            let last = entries.len() - 1;
            &mut entries[last]
        };
        for &target in info.targets {
            entry["targets"][id(target)] = specific.clone();
        }
    }
    entries
}

/// What two targets differ in is no property of the option as such: choices are joined, and a
/// default is dropped.
fn merge(entry: &mut Value, other: &Value) {
    if entry["default"] != other["default"] {
        entry["default"] = Value::Null;
    }
    if entry["help"] != other["help"] {
        let help = [entry["help"].as_str(), other["help"].as_str()];
        entry["help"] = help.map(Option::unwrap_or_default).join(" ").into();
    }
    let more = other["choices"].as_array().cloned().unwrap_or_default();
    if let Some(choices) = entry["choices"].as_array_mut() {
        choices.extend(more);
    }
}

fn described(info: &OptionInfo) -> Value {
    let number = |text: &str| text.parse::<f64>().map_or(Value::Null, number);
    let mut entry = Map::new();
    let (kind, default) = match info.kind {
        OptionKind::Integer(min, max) => {
            entry.extend([("min".to_owned(), min.into()), ("max".to_owned(), max.into())]);
            ("integer", number(info.default))
        }
        OptionKind::Number(min, max) => {
            let pair = [("min", min), ("max", max)];
            entry.extend(pair.map(|(key, value)| (key.to_owned(), self::number(value.into()))));
            ("number", number(info.default))
        }
        OptionKind::Boolean => ("boolean", (info.default == "1").into()),
        OptionKind::Colour => ("colour", info.default.into()),
        OptionKind::Choice(choices) => {
            entry.insert("choices".into(), choices.into());
            ("choice", info.default.into())
        }
    };
    entry.insert("kind".into(), kind.into());
    entry.insert("default".into(), default);
    entry.insert("help".into(), info.help.into());
    entry.into()
}

/// Whole numbers without a fraction, as people write them.
#[allow(clippy::cast_possible_truncation, reason = "whole, and at most 500")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { (value as i64).into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_has_one_entry_and_says_what_its_targets_differ_in() {
        let options = options();
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
        let names: Vec<_> = options().iter().map(|entry| entry["name"].clone()).collect();
        for format in SourceType::ALL.into_iter().map(format) {
            for target in format["targets"].as_array().into_iter().flatten() {
                for option in target["options"].as_array().into_iter().flatten() {
                    assert!(names.contains(option), "{option}");
                }
            }
        }
    }
}
