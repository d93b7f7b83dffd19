//! Plots as SVG, whose colours follow the page that they stand in.
//!
//! plotters writes fixed colours. Those of text and grid are placeholders that become CSS variables,
//! so that one drawing reads on light and on dark; the colours of the lines read on both.

use std::io;

use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::job::Job;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 400;
const LEGEND_WIDTH: u32 = 116;
const TICKS_MAX: usize = 9;
const FONT: (&str, u32) = ("sans-serif", 13);

/// Placeholders: no other colour is the same.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(4, 5, 6);
const INK_HEX: &str = "#010203";
const GRID_HEX: &str = "#040506";

/// The colours of a page and of a plot by itself.
pub(super) const THEME: &str = ":root{--ink:#1d2430;--dim:#5c6675;--grid:#dfe3ea;--paper:#ffffff;\
--card:#f6f7f9}@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#9aa4b5;--grid:#333a46;\
--paper:#14171c;--card:#1c2027}}";

/// One colour for each job, in their order; all have contrast on white and on near black.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x4a, 0x7f, 0xc1),
    RGBColor(0xe0, 0x7b, 0x20),
    RGBColor(0xd6, 0x4b, 0x55),
    RGBColor(0x2f, 0x9e, 0x99),
    RGBColor(0x4f, 0x9a, 0x46),
    RGBColor(0xb0, 0x8d, 0x1f),
    RGBColor(0xa0, 0x67, 0xb5),
    RGBColor(0xd0, 0x64, 0x98),
    RGBColor(0x98, 0x6b, 0x52),
    RGBColor(0x7c, 0x85, 0x92),
];

pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) colour: RGBColor,
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) struct Lines<'a> {
    pub(super) x_title: &'a str,
    /// Of 0, 1, 2 and so on.
    pub(super) x_labels: Vec<String>,
    pub(super) y_title: &'a str,
    pub(super) series: Vec<Series<'a>>,
    pub(super) markers: bool,
}

pub(super) struct Heat<'a> {
    pub(super) x_title: &'a str,
    pub(super) x_labels: Vec<String>,
    pub(super) y_title: &'a str,
    pub(super) y_labels: Vec<String>,
    /// Row by row; nothing where nothing was measured.
    pub(super) cells: Vec<Vec<Option<f64>>>,
}

pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    pub(super) parts: [f64; 2],
    pub(super) label: String,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of a job, the same in every plot.
pub(super) fn colour(job: &str) -> RGBColor {
    let at = Job::all().position(|known| known.name() == job).unwrap_or(0);
    COLOURS[at % COLOURS.len()]
}

/// The colour of a line that is no job's.
pub(super) fn nth_colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

/// Lines over categories, on a logarithmic scale.
pub(super) fn lines(plot: &Lines<'_>) -> io::Result<String> {
    draw((WIDTH, HEIGHT), |root| {
        let (left, right) = root.split_horizontally(WIDTH - LEGEND_WIDTH);
        let points = || plot.series.iter().flat_map(|series| &series.points);
        let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = points().map(|point| point.1).fold(0.0, f64::max);
        let last = points().map(|point| point.0).fold(0.0, f64::max).ceil();
        let (low, high) = (low / 1.3, high * 1.3);
        let mut chart = ChartBuilder::on(&left)
            .margin_top(8)
            .margin_right(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.15..last + 0.15, (low..high).log_scale())
            .map_err(|error| error.to_string())?;
        axes(&left, &mut chart, plot, last, (low, high))?;
        for series in &plot.series {
            let style = series.colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(series.points.iter().copied(), style))
                .map_err(|error| error.to_string())?;
            if plot.markers {
                let dot = |point: &(f64, f64)| Circle::new(*point, 3, series.colour.filled());
                chart
                    .draw_series(series.points.iter().map(dot))
                    .map_err(|error| error.to_string())?;
            }
        }
        // From top to bottom as the lines end, so that the eye finds a name where it leaves the line.
        let end = |one: &Series<'_>| one.points.last().map_or(0.0, |point| point.1);
        let mut ordered: Vec<_> = plot.series.iter().collect();
        ordered.sort_by(|one, other| end(other).total_cmp(&end(one)));
        let names: Vec<_> = ordered.iter().map(|one| (one.name, one.colour)).collect();
        legend(&right, &names)
    })
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;

fn axes(
    area: &Area<'_>,
    chart: &mut Chart<'_, '_>,
    plot: &Lines<'_>,
    last: f64,
    (low, high): (f64, f64),
) -> Result<(), String> {
    // Lines and labels by hand: a mesh of plotters chooses its own.
    let mut line = |ends: [(f64, f64); 2]| {
        let path = std::iter::once(PathElement::new(ends, GRID));
        chart.draw_series(path).map(|_| ()).map_err(|error| error.to_string())
    };
    for at in whole_numbers(last) {
        line([(at, low), (at, high)])?;
    }
    for value in ticks(low, high) {
        line([(-0.15, value), (last + 0.15, value)])?;
    }
    line([(-0.15, low), (last + 0.15, low)])?;
    for (at, label) in whole_numbers(last).into_iter().zip(&plot.x_labels) {
        let (x, y) = chart.backend_coord(&(at, low));
        text(area, label, (x, y + 14), HPos::Center, INK)?;
    }
    for value in ticks(low, high) {
        let (x, y) = chart.backend_coord(&(-0.15, value));
        text(area, &tick(value), (x - 8, y), HPos::Right, INK)?;
    }
    let (x, y) = chart.backend_coord(&(last / 2.0, low));
    text(area, plot.x_title, (x, y + 36), HPos::Center, INK)?;
    let middle = chart.backend_coord(&(0.0, (low * high).sqrt())).1;
    upwards(area, plot.y_title, (14, middle))
}

/// The title of an axis that goes up.
fn upwards(area: &Area<'_>, words: &str, at: (i32, i32)) -> Result<(), String> {
    let style = FONT.into_font().transform(FontTransform::Rotate270).color(&INK);
    let style = style.pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(|error| error.to_string())
}

/// 0, 1, 2 and so on.
fn whole_numbers(last: f64) -> Vec<f64> {
    std::iter::successors(Some(0.0), |at| Some(at + 1.0)).take_while(|at| *at <= last).collect()
}

/// Where a logarithmic scale has its lines: at 1, 2 and 5 of each decade, or at the decades alone
/// where those would be too many.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    // A decade's exponent: far within the range.
    #[allow(clippy::cast_possible_truncation)]
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let of_steps = |steps: &[f64]| -> Vec<f64> {
        (first..=last)
            .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
            .filter(|tick| (low..=high).contains(tick))
            .collect()
    };
    let fine = of_steps(&[1.0, 2.0, 5.0]);
    if fine.len() > TICKS_MAX { of_steps(&[1.0]) } else { fine }
}

/// A table of colours: the darker, the more.
pub(super) fn heat(plot: &Heat<'_>) -> io::Result<String> {
    let (left, top, row) = (96, 12, 40);
    let rows = i32::try_from(plot.y_labels.len()).unwrap_or(1);
    let columns = i32::try_from(plot.x_labels.len().max(1)).unwrap_or(1);
    let height = top + rows * row + 52;
    let size = (WIDTH, u32::try_from(height).unwrap_or(HEIGHT));
    let most = plot.cells.iter().flatten().flatten().copied().fold(0.0, f64::max);
    draw(size, |root| {
        let width = (i32::try_from(WIDTH).unwrap_or(0) - left - 16) / columns;
        for (at_row, cells) in (0_i32..).zip(&plot.cells) {
            let y = top + at_row * row;
            let label = plot.y_labels.get(usize::try_from(at_row).unwrap_or(0));
            let label = label.map_or("", String::as_str);
            text(root, label, (left - 8, y + row / 2), HPos::Right, INK)?;
            for (at_column, value) in (0_i32..).zip(cells) {
                let x = left + at_column * width;
                let Some(value) = value else { continue };
                let share = if most > 0.0 { value / most } else { 0.0 };
                let fill = mix(RGBColor(0xd8, 0xe6, 0xf5), RGBColor(0x12, 0x45, 0x80), share);
                let corners = [(x, y), (x + width - 2, y + row - 2)];
                root.draw(&Rectangle::new(corners, fill.filled())).map_err(|e| e.to_string())?;
                let ink = if share > 0.5 { WHITE } else { RGBColor(0x14, 0x1c, 0x28) };
                let middle = (x + width / 2, y + row / 2);
                text(root, &super::data::short(*value), middle, HPos::Center, ink)?;
            }
        }
        let below = top + rows * row;
        for (at, label) in (0_i32..).zip(&plot.x_labels) {
            let x = left + at * width + width / 2;
            text(root, label, (x, below + 14), HPos::Center, INK)?;
        }
        let middle = left + columns * width / 2;
        text(root, plot.x_title, (middle, below + 38), HPos::Center, INK)?;
        upwards(root, plot.y_title, (14, top + rows * row / 2))
    })
}

/// Bars of two parts, one below the other.
pub(super) fn bars(title: &str, parts: &[&str], bars: &[Bar<'_>]) -> io::Result<String> {
    let (left, top, row) = (96, 30, 28);
    // The longest bar leaves room for the longest label, of characters about 7 wide.
    let label = bars.iter().map(|bar| bar.label.len()).max().unwrap_or(0);
    let width = f64::from(WIDTH) - f64::from(left) - 7.0 * label as f64 - 24.0;
    let count = i32::try_from(bars.len()).unwrap_or(0);
    let size = (WIDTH, u32::try_from(top + count * row + 36).unwrap_or(HEIGHT));
    let most = bars.iter().map(|bar| bar.parts.iter().sum()).fold(0.0, f64::max);
    let colours = [COLOURS[0], COLOURS[1]];
    draw(size, |root| {
        let mut x = left;
        for (name, colour) in parts.iter().zip(colours) {
            root.draw(&Rectangle::new([(x, 6), (x + 12, 18)], colour.filled()))
                .map_err(|error| error.to_string())?;
            text(root, name, (x + 18, 12), HPos::Left, INK)?;
            x += 40 + 8 * i32::try_from(name.len()).unwrap_or(0);
        }
        for (at, bar) in (0_i32..).zip(bars) {
            let y = top + at * row;
            text(root, bar.name, (left - 8, y + row / 2), HPos::Right, INK)?;
            let mut start = left;
            for (part, colour) in bar.parts.iter().zip(colours) {
                // At most the width of the plot.
                #[allow(clippy::cast_possible_truncation)]
                let end = start + (part / most * width) as i32;
                root.draw(&Rectangle::new([(start, y + 4), (end, y + row - 4)], colour.filled()))
                    .map_err(|error| error.to_string())?;
                start = end;
            }
            text(root, &bar.label, (start + 8, y + row / 2), HPos::Left, INK)?;
        }
        text(root, title, (left, top + count * row + 18), HPos::Left, INK)
    })
}

/// A plot for a file of its own: with its theme and its background.
pub(super) fn standalone(svg: &str) -> String {
    let style = format!("<style>{THEME}svg{{background:var(--paper)}}</style>");
    match svg.split_once('>') {
        Some((tag, rest)) => format!("{tag}>{style}{rest}"),
        None => svg.to_owned(),
    }
}

fn draw(
    (width, height): (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> io::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        paint(&root)
            .and_then(|()| root.present().map_err(|e| e.to_string()))
            .map_err(|error| io::Error::other(format!("cannot draw a plot: {error}")))?;
    }
    // The size is in the view box; the page decides how large that is.
    let fixed = format!("width=\"{width}\" height=\"{height}\" ");
    Ok(svg.replace(INK_HEX, "var(--ink)").replace(GRID_HEX, "var(--grid)").replacen(&fixed, "", 1))
}

fn legend(area: &Area<'_>, names: &[(&str, RGBColor)]) -> Result<(), String> {
    for (at, (name, colour)) in (0_i32..).zip(names) {
        let y = 22 + at * 22;
        area.draw(&Rectangle::new([(2, y - 2), (18, y + 1)], colour.filled()))
            .map_err(|error| error.to_string())?;
        text(area, name, (26, y), HPos::Left, INK)?;
    }
    Ok(())
}

fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    side: HPos,
    colour: RGBColor,
) -> Result<(), String> {
    let style = FONT.into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(|error| error.to_string())
}

fn tick(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{}", (value * 1e4).round() / 1e4) }
}

/// A colour between two.
fn mix(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let part = |from: u8, to: u8| {
        let value = f64::from(from) + (f64::from(to) - f64::from(from)) * share.clamp(0.0, 1.0);
        // Between two bytes.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let value = value as u8;
        value
    };
    RGBColor(part(from.0, to.0), part(from.1, to.1), part(from.2, to.2))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plots_have_their_words_and_no_fixed_ink() {
        let svg = lines(&Lines {
            x_title: "file size",
            x_labels: vec!["100 kB".to_owned(), "1 MB".to_owned()],
            y_title: "MB/s",
            series: vec![Series {
                name: "jpg-png",
                colour: colour("jpg-png"),
                points: vec![(0.0, 3.0), (1.0, 90.0)],
            }],
            markers: true,
        })
        .unwrap();
        for word in ["100 kB", "1 MB", "file size", "MB/s", "jpg-png", "var(--ink)"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
        assert!(!svg.contains(INK_HEX) && !svg.contains(GRID_HEX));
        assert!(standalone(&svg).contains("prefers-color-scheme"));
    }

    #[test]
    fn a_scale_has_neither_one_line_nor_twenty() {
        assert_eq!(ticks(30.0, 250.0), [50.0, 100.0, 200.0]);
        assert_eq!(ticks(0.5, 20_000.0), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(whole_numbers(2.0), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn a_heat_map_leaves_out_what_was_not_measured() {
        let svg = heat(&Heat {
            x_title: "connections",
            x_labels: vec!["1".to_owned(), "2".to_owned()],
            y_title: "chunk size",
            y_labels: vec!["4 KiB".to_owned()],
            cells: vec![vec![Some(12.5), None]],
        })
        .unwrap();
        assert!(svg.contains("12.5"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 1);
    }
}
