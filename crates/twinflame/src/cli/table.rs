use comfy_table::{ContentArrangement, Table, TableComponent, presets};
use terminal_size::{Width, terminal_size};

/// An empty table in the style of every verb: a line under the header, no other rules.
///
/// It wraps to the width of the terminal; into a pipe or file each row is one line.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, '─')
        .set_header(header);
    if let Some((Width(columns), _)) = terminal_size() {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    table
}
