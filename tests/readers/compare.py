#!/usr/bin/env python3
"""Reads the files of an export with readers that are not PulseCal's, and compares each cell with expected.json.

    compare.py FOLDER      which holds expected.json, report.csv, report.xlsx, report.pdf

Readers: Python's csv; openpyxl; LibreOffice (headless); pdftotext, pdfinfo and qpdf. One that is not installed is named and
passed over. The first difference ends it with a word and status 1."""
import csv, datetime, json, pathlib, re, shutil, subprocess, sys, tempfile
import xml.etree.ElementTree as xml

folder = pathlib.Path(sys.argv[1])
rows = json.loads((folder / 'expected.json').read_text())
FIRST_EXCEL_DAY = datetime.date(1900, 3, 1)


def same(reader, what, found, wanted):
    if found != wanted:
        sys.exit(f'{reader}: {what}: found {found!r} instead of {wanted!r}')


def done(reader, what):
    print(f'{reader}: {what}: the same')


def run(*command):
    result = subprocess.run(command, capture_output=True)
    if result.returncode:
        sys.exit(f'{command[0]}: status {result.returncode}: {(result.stdout + result.stderr).decode(errors="replace")}')
    return result.stdout.decode()


def csv_with_python():
    with open(folder / 'report.csv', encoding='utf-8', newline='') as file:
        read = list(csv.reader(file))
    same('csv', 'rows', len(read) - 1, len(rows))
    for number, (found, row) in enumerate(zip(read[1:], rows)):
        wanted = [row['starts_at'], str(row['minutes']), row['guarded'], row['born'] or '', row['id']]
        same('csv', f'row {number}', found, wanted)
    done('csv', f'{len(rows)} rows of CSV')


def decoded(text):
    """Spreadsheets write what XML has no form for as _x000D_."""
    return re.sub('_x([0-9A-Fa-f]{4})_', lambda found: chr(int(found[1], 16)), text)


def xlsx_with_openpyxl():
    try:
        import openpyxl
    except ImportError:
        return print('openpyxl: not installed, passed over')
    sheet = openpyxl.load_workbook(folder / 'report.xlsx')['Appointments']
    read = list(sheet.iter_rows(min_row=2))
    same('openpyxl', 'rows', len(read), len(rows))
    same('openpyxl', 'filter and frozen head', (sheet.auto_filter.ref, sheet.freeze_panes), (f'A1:E{len(rows) + 1}', 'A2'))
    for number, (cells, row) in enumerate(zip(read, rows)):
        same('openpyxl', f'formulas in row {number}', [cell.data_type for cell in cells if cell.data_type == 'f'], [])
        starts = datetime.datetime.fromisoformat(row['local'])
        born = row['born'] and datetime.date.fromisoformat(row['born'])
        at, minutes, place, day, key = [cell.value for cell in cells]
        same('openpyxl', f'instant {number}', at, starts if starts.date() >= FIRST_EXCEL_DAY else row['starts_at'])
        same('openpyxl', f'number {number}', minutes, row['minutes'])
        same('openpyxl', f'text {number}', decoded(place), row['place'])
        if born and born >= FIRST_EXCEL_DAY:
            day = day.date()
            born = born
        else:
            born = row['born']
        same('openpyxl', f'day {number}', day, born)
        same('openpyxl', f'id {number}', key, row['id'])
    done('openpyxl', f'{len(rows)} rows of XLSX, no formula')


TABLE = '{urn:oasis:names:tc:opendocument:xmlns:table:1.0}'
OFFICE = '{urn:oasis:names:tc:opendocument:xmlns:office:1.0}'
TEXT = '{urn:oasis:names:tc:opendocument:xmlns:text:1.0}'


def flat(node):
    """The text of a node of OpenDocument, with its blanks, tabs and line ends."""
    parts = [node.text or '']
    for child in node:
        if child.tag == TEXT + 's':
            parts.append(' ' * int(child.get(TEXT + 'c', 1)))
        elif child.tag == TEXT + 'tab':
            parts.append('\t')
        elif child.tag == TEXT + 'line-break':
            parts.append('\n')
        else:
            parts.append(flat(child))
        parts.append(child.tail or '')
    return ''.join(parts)


def opened_by_libreoffice(office, name, scratch):
    run(office, f'-env:UserInstallation={pathlib.Path(scratch, "home").as_uri()}', '--headless', '--convert-to', 'fods',
        '--outdir', scratch, str(folder / name))
    tree = xml.parse(pathlib.Path(scratch, name).with_suffix('.fods')).getroot()
    same('LibreOffice', f'formulas in {name}', [cell.get(TABLE + 'formula') for cell in tree.iter(TABLE + 'table-cell') if cell.get(TABLE + 'formula')], [])
    return [list(row.iter(TABLE + 'table-cell')) for row in tree.iter(TABLE + 'table-row')]


def both_with_libreoffice():
    office = shutil.which('soffice') or shutil.which('libreoffice')
    if not office:
        return print('LibreOffice: not installed, passed over')
    with tempfile.TemporaryDirectory() as scratch:
        read = [cells for cells in opened_by_libreoffice(office, 'report.xlsx', scratch) if len(cells) >= 5]
        same('LibreOffice', 'rows', len(read) - 1, len(rows))
        for number, (cells, row) in enumerate(zip(read[1:], rows)):
            place = '\n'.join(flat(part) for part in cells[2].iter(TEXT + 'p'))
            # Its XML has no other control characters, and one kind of line end.
            line_ends = lambda text: re.sub('[\x00-\x08\x0b-\x1f]', '', re.sub('\r\n?', '\n', text))
            same('LibreOffice', f'text {number}', line_ends(place), line_ends(row['place']))
            if datetime.date.fromisoformat(row['local'][:10]) >= FIRST_EXCEL_DAY:
                same('LibreOffice', f'instant {number}', cells[0].get(OFFICE + 'date-value'), row['local'])
            same('LibreOffice', f'number {number}', cells[1].get(OFFICE + 'value'), str(row['minutes']))
        opened_by_libreoffice(office, 'report.csv', scratch)
    done('LibreOffice', f'{len(rows)} rows of XLSX, no formula in XLSX and CSV')


def pdf_with_poppler_and_qpdf():
    pdf = str(folder / 'report.pdf')
    if shutil.which('qpdf'):
        run('qpdf', '--check', pdf)
        done('qpdf', 'no fault in the PDF')
    else:
        print('qpdf: not installed, passed over')
    if not shutil.which('pdftotext'):
        return print('pdftotext: not installed, passed over')
    # Cells are wrapped where their column ends, so blanks and line ends are left out; so are the marks of directions. What is
    # read from right to left is compared by its words, for pdftotext has an order of its own for them.
    bare = lambda text: re.sub('[\\s\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x1f]', '', text)
    text = bare(run('pdftotext', '-raw', '-enc', 'UTF-8', pdf, '-'))
    for number, row in enumerate(rows):
        short = len(row['place']) <= 20 and row['in_font']
        wanted = [bare(row['local'].replace('T', ' ')[:16]), *(map(bare, row['place'].split()) if short else [])]
        for part in wanted:
            if part not in text:
                sys.exit(f'pdftotext: row {number}: {part!r} is not in the PDF')
    done('pdftotext', f'{len(rows)} rows of PDF')


csv_with_python()
xlsx_with_openpyxl()
both_with_libreoffice()
pdf_with_poppler_and_qpdf()
