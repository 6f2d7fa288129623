//! The parts of a workbook around its rows.

use std::fmt::Write;

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::text::push_escaped;
use crate::exports::{Column, Heading};

/// The style of an instant, as a cell names it.
pub(super) const INSTANT: &str = " s=\"2\"";
/// The style of a day.
pub(super) const DAY: &str = " s=\"3\"";

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

pub(super) const ROOT_RELATIONS: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties" Target="docProps/core.xml"/><Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/extended-properties" Target="docProps/app.xml"/></Relationships>"#;

pub(super) const APP: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties"><Application>PulseCal</Application></Properties>"#;

/// The styles: 0 for what is usual, 1 for heads, 2 for instants, 3 for days.
pub(super) const STYLES: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy-mm-dd hh:mm"/><numFmt numFmtId="165" formatCode="yyyy-mm-dd"/></numFmts><fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font><font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles><dxfs count="0"/><tableStyles count="0"/></styleSheet>"#;

/// The letters of a column, counted from 0: `A` to `Z`, `AA` and so on.
pub(super) fn letters(mut column: usize) -> String {
    let mut text = String::new();
    loop {
        text.insert(0, (b'A'..=b'Z').map(char::from).nth(column % 26).unwrap_or('A'));
        match (column / 26).checked_sub(1) {
            Some(rest) => column = rest,
            None => return text,
        }
    }
}

fn sheet_name(number: usize) -> String {
    if number == 1 { "Appointments".to_owned() } else { format!("Appointments {number}") }
}

/// All cells of a sheet, with its head and one row at least, as `A1:H20`; `fixed` goes before letters and numbers.
fn area(columns: usize, rows: u32, fixed: &str) -> String {
    let last = letters(columns.saturating_sub(1));
    format!("{fixed}A{fixed}1:{fixed}{last}{fixed}{}", rows.max(2))
}

pub(super) fn properties(heading: &Heading) -> String {
    let mut xml = HEAD.to_owned();
    xml.push_str(r#"<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:title>Appointments</dc:title><dc:creator>"#);
    push_escaped(&mut xml, &heading.organization);
    let at = heading.as_of.format("%Y-%m-%dT%H:%M:%SZ");
    let _ok = write!(
        xml,
        "</dc:creator><dcterms:created xsi:type=\"dcterms:W3CDTF\">{at}</dcterms:created></cp:coreProperties>"
    );
    xml
}

pub(super) fn push_sheet_begin(xml: &mut String, columns: &[Column], first: bool) {
    xml.push_str(HEAD);
    xml.push_str(
        r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView "#,
    );
    xml.push_str(if first { r#"tabSelected="1" "# } else { "" });
    xml.push_str(r#"workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/><cols>"#);
    for (number, column) in (1..).zip(columns) {
        let width = column.width();
        let _ok = write!(xml, r#"<col min="{number}" max="{number}" width="{width}.7109375" customWidth="1"/>"#);
    }
    xml.push_str("</cols><sheetData>");
}

pub(super) fn push_sheet_end(xml: &mut String, columns: usize, rows: u32) {
    let area = area(columns, rows, "");
    let _ok = write!(xml, r#"</sheetData><autoFilter ref="{area}"/></worksheet>"#);
}

/// Names the sheets, each given by its rows, and the areas of their filters.
pub(super) fn workbook(sheets: &[u32], columns: usize) -> String {
    let (mut named, mut filtered) = (String::new(), String::new());
    for (number, rows) in (1..).zip(sheets) {
        let (name, area) = (sheet_name(number), area(columns, *rows, "$"));
        let _ok = write!(named, r#"<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>"#);
        let _ok = write!(
            filtered,
            r#"<definedName name="_xlnm._FilterDatabase" localSheetId="{}" hidden="1">'{name}'!{area}</definedName>"#,
            number - 1
        );
    }
    format!(
        r#"{HEAD}<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><bookViews><workbookView/></bookViews><sheets>{named}</sheets><definedNames>{filtered}</definedNames></workbook>"#
    )
}

pub(super) fn relations(sheets: usize) -> String {
    let mut all = String::new();
    for number in 1..=sheets {
        let _ok = write!(
            all,
            r#"<Relationship Id="rId{number}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{number}.xml"/>"#
        );
    }
    let styles = sheets + 1;
    format!(
        r#"{HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{all}<Relationship Id="rId{styles}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#
    )
}

pub(super) fn content_types(sheets: usize) -> String {
    let mut all = String::new();
    for number in 1..=sheets {
        let _ok = write!(
            all,
            r#"<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>"#
        );
    }
    format!(
        r#"{HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/docProps/app.xml" ContentType="application/vnd.openxmlformats-officedocument.extended-properties+xml"/><Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>{all}</Types>"#
    )
}

/// An instant as zip files have it; they know none before 1980.
pub(super) fn zip_time(at: DateTime<Utc>) -> zip::DateTime {
    let number = |number: u32| u8::try_from(number).unwrap_or(0);
    let year = u16::try_from(at.year()).unwrap_or(1980);
    let time = zip::DateTime::from_date_and_time(
        year,
        number(at.month()),
        number(at.day()),
        number(at.hour()),
        number(at.minute()),
        number(at.second()),
    );
    time.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_letters() {
        let names = [0, 1, 18, 25, 26, 51, 52, 701, 702].map(letters);
        assert_eq!(names, ["A", "B", "S", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]);
        assert_eq!(area(8, 1, ""), "A1:H2", "a filter has a row below its head");
        assert_eq!(area(8, 20, "$"), "$A$1:$H$20");
    }
}
