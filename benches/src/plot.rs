//! A bar chart of each case: medians, with a line from the smallest to the largest.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Outcome;
use crate::measure::Series;

const WIDTH: u32 = 720;
/// The height of a bar with its margins, and of the rest of the chart.
const BAR: u32 = 34;
const FRAME: u32 = 110;

const OURS: RGBColor = RGBColor(178, 58, 44);
const THEIRS: RGBColor = RGBColor(120, 144, 166);
const INK: RGBColor = RGBColor(40, 40, 40);

pub(crate) fn write(folder: &Path, all: &[Series]) -> Outcome<()> {
    for series in all {
        let path = folder.join(format!("{}.svg", series.case.replace('/', "-")));
        let mut text = String::new();
        bars(&mut text, series)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

fn bars(text: &mut String, series: &Series) -> Outcome<()> {
    let count = series.columns.len();
    let largest = series.columns.iter().map(|column| column.nanoseconds().max).fold(0.0, f64::max);
    let area = SVGBackend::with_string(text, (WIDTH, FRAME + BAR * count as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: {}", series.case, series.unit), ("sans-serif", 20).into_font().color(&INK))
        .margin(12)
        .margin_right(90)
        .x_label_area_size(36)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..largest * 1.05, 0.0..count as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_max_light_lines(1)
        .disable_y_axis()
        .light_line_style(WHITE)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .draw()?;
    // The first column is at the top.
    for (column, row) in series.columns.iter().zip((0..count).rev()) {
        let (figures, row) = (column.nanoseconds(), row as f64);
        let colour = if column.peer.starts_with("ours") || column.peer == series.subject { OURS } else { THEIRS };
        chart.draw_series([Rectangle::new([(0.0, row + 0.2), (figures.median, row + 0.8)], colour.filled())])?;
        chart.draw_series([PathElement::new([(figures.min, row + 0.5), (figures.max, row + 0.5)], INK.stroke_width(1))])?;
        let label = |position| ("sans-serif", 14).into_font().color(&INK).pos(position);
        let name =
            EmptyElement::at((0.0, row + 0.5)) + Text::new(column.peer, (-8, 0), label(Pos::new(HPos::Right, VPos::Center)));
        chart.plotting_area().draw(&name)?;
        let value = EmptyElement::at((figures.max.max(figures.median), row + 0.5))
            + Text::new(format!("{:.0}", figures.median), (6, 0), label(Pos::new(HPos::Left, VPos::Center)));
        chart.plotting_area().draw(&value)?;
    }
    area.present()?;
    Ok(())
}
