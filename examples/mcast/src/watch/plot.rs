//! Draws the history as an SVG: rate, losses and jitter over the time, one below the other.

use std::error::Error;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plotters::prelude::*;

use super::history::{History, Point};
use crate::stop::{Stop, failed};

const SIZE: (u32, u32) = (1_200, 1_000);
/// A file of that name is written as a whole, and then takes the place of the one before.
const UNFINISHED: &str = "unfinished";

/// Checks that the file can be written, before the watching begins.
pub(super) fn check(path: &Path) -> Result<(), Stop> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map(drop).map_err(failed(&format!("--plot {}", path.display())))
}

/// Writes the plot.
#[inline(never)]
pub(super) fn write(path: &Path, history: &History, now: Duration) -> Result<(), Stop> {
    let say = format!("--plot {}", path.display());
    let text = drawn(history, now).map_err(failed(&say))?;
    let mut unfinished = PathBuf::from(path);
    unfinished.set_extension(UNFINISHED);
    std::fs::write(&unfinished, text).map_err(failed(&say))?;
    std::fs::rename(&unfinished, path).map_err(failed(&say))
}

/// One of the three parts: its title, and the value of a point.
type Part = (&'static str, fn(&Point) -> Option<f64>);

const PARTS: [Part; 3] = [
    ("Rate, Mbit/s of UDP payload", |point| a_second(point, point.bits).map(|bits| bits / 1e6)),
    ("Lost packets and continuity errors a second", |point| a_second(point, point.lost)),
    ("Jitter, ms", |point| point.jitter.map(|jitter| jitter as f64 / 1e6)),
];

fn a_second(point: &Point, count: u64) -> Option<f64> {
    (point.milliseconds > 0).then(|| count as f64 * 1_000.0 / point.milliseconds as f64)
}

fn drawn(history: &History, now: Duration) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let total = now.as_secs_f64().max(1.0);
        let (unit, unit_name) = unit(total);
        for (number, (area, (title, value))) in root.split_evenly((PARTS.len(), 1)).iter().zip(PARTS).enumerate() {
            let lines: Vec<Vec<(f64, f64)>> =
                history.lines.iter().map(|line| points(&line.points, history.width, unit, value)).collect();
            let highest = lines.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
            let top = if highest > 0.0 { highest * 1.1 } else { 1.0 };
            let mut chart = ChartBuilder::on(area)
                .caption(title, ("sans-serif", 18))
                .margin(10)
                .x_label_area_size(35)
                .y_label_area_size(70)
                .build_cartesian_2d(0.0..total / unit, 0.0..top)?;
            chart.configure_mesh().x_desc(format!("time, {unit_name}")).light_line_style(WHITE).draw()?;
            for (index, (line, values)) in history.lines.iter().zip(lines).enumerate() {
                let style = Palette99::pick(index).stroke_width(1);
                let series = chart.draw_series(LineSeries::new(values, style))?;
                // Once is enough.
                if number == 0 {
                    series.label(&line.name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 15, y)], style));
                }
            }
            if number == 0 && !history.lines.is_empty() {
                if history.is_full {
                    let none: [(f64, f64); 0] = [];
                    chart.draw_series(LineSeries::new(none, WHITE))?.label("and other sources");
                }
                chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
            }
        }
        root.present()?;
    }
    Ok(text)
}

/// What the time is shown in.
fn unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        259_200.0.. => (86_400.0, "days"),
        10_800.0.. => (3_600.0, "hours"),
        180.0.. => (60.0, "minutes"),
        _ => (1.0, "seconds"),
    }
}

/// A line, each point in the middle of its time.
fn points(points: &[Point], width: u64, unit: f64, value: fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    let of_point = |(number, point)| Some(((number as f64 + 0.5) * width as f64 / unit, value(point)?));
    points.iter().enumerate().filter_map(of_point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_that_was_looked_at() {
        let point = |milliseconds, bits| Point { milliseconds, bits, ..Point::default() };
        let [(_, value), ..] = PARTS;
        // The last one has less time than the others, and of the one before it nothing is known.
        let line = points(&[point(4_000, 8_000_000), point(0, 0), point(1_000, 2_000_000)], 4, 1.0, value);
        assert_eq!(line, [(2.0, 2.0), (10.0, 2.0)]);
    }

    #[test]
    fn nothing_at_all_is_a_plot_without_lines() {
        let text = drawn(&History::new(), Duration::ZERO).unwrap();
        assert!(
            text.starts_with("<svg ")
                && text.contains("Jitter, ms")
                && !text.contains("<polyline fill=\"none\" opacity=\"1\" stroke=\"#E6")
        );
    }

    #[test]
    fn the_unit_fits_the_time() {
        assert_eq!([5.0, 200.0, 20_000.0, 3e7].map(|seconds| unit(seconds).1), ["seconds", "minutes", "hours", "days"]);
    }
}
