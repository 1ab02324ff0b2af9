//! Decodes a file to text, in any encoding that spreadsheet programs write. Recognises other file formats, so that the
//! error message can name the format.

use std::borrow::Cow;

const ZIP: &[u8] = b"PK";
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const GZIP: &[u8] = b"\x1f\x8b";
const PDF: &[u8] = b"%PDF-";

/// Returns the text of the file. The error message is one line, which says what is wrong with the file and what to do.
pub(super) fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    if let Some(instead) = other_file(bytes) {
        return Err(instead.to_owned());
    }
    let text: Cow<'_, str> = match bytes {
        [0xff, 0xfe, units @ ..] => utf_16(units, u16::from_le_bytes)?.into(),
        [0xfe, 0xff, units @ ..] => utf_16(units, u16::from_be_bytes)?.into(),
        [0xef, 0xbb, 0xbf, text @ ..] | text => utf_8(text)?.into(),
    };
    match other_text(&text) {
        Some(instead) => Err(instead.to_owned()),
        None => Ok(text),
    }
}

fn utf_8(bytes: &[u8]) -> Result<&str, String> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!(
            "line {}: it contains NUL characters. Perhaps the file is UTF-16 without a byte order mark: save it as \"CSV \
             UTF-8\"",
            line(bytes, at)
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "line {}: a character is not UTF-8. Excel's plain \"CSV\" is Windows-1252, which import cannot tell from other \
             encodings: save the file as \"CSV UTF-8\"",
            line(bytes, error.valid_up_to())
        )
    })
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for read in char::decode_utf16(units.iter().map(|pair| unit(*pair))) {
        let Ok(read) = read else {
            let line = line(text.as_bytes(), text.len());
            return Err(format!("line {line}: a character is not UTF-16: save the file as \"CSV UTF-8\""));
        };
        text.push(read);
    }
    if rest.is_empty() {
        Ok(text)
    } else {
        Err("it is UTF-16 and ends in the middle of a character, so the file is not complete: copy it again".to_owned())
    }
}

/// Returns an error message if the first bytes belong to another format.
fn other_file(bytes: &[u8]) -> Option<&'static str> {
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    if bytes.is_empty() {
        return Some("the file is empty: its first line must be username,email,full_name,roles");
    }
    if bytes.starts_with(ZIP) && bytes.get(2).is_some_and(|byte| *byte < 0x20) {
        // A zip archive does not compress its file names, so a search in the bytes finds them.
        return Some(if contains(b"opendocument.spreadsheet") {
            "it is an OpenDocument spreadsheet (ODS), and import reads CSV: in LibreOffice, save it as \"Text CSV\" with the \
             character set UTF-8, and import that file"
        } else if contains(b"xl/workbook") {
            "it is an Excel workbook (XLSX), and import reads CSV: in Excel, save it as \"CSV UTF-8\", and import that file"
        } else if contains(b".iwa") {
            "it is a Numbers document, and import reads CSV: in Numbers, export it to CSV with the encoding UTF-8, and import \
             that file"
        } else {
            "it is a zip archive, and import reads CSV: unpack it, and import the CSV file in it"
        });
    }
    if bytes.starts_with(OLE) {
        return Some(
            "it is an Excel workbook (XLS, or XLSX with a password), and import reads CSV: in Excel, save it as \"CSV \
             UTF-8\", and import that file",
        );
    }
    if bytes.starts_with(GZIP) {
        return Some("it is compressed with gzip, and import reads CSV: unpack it first");
    }
    bytes.starts_with(PDF).then_some("it is a PDF document, and import reads CSV: save the table as \"CSV UTF-8\"")
}

/// Returns an error message if the text begins like another format, such as JSON.
fn other_text(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    let list = text.strip_prefix('[').map(str::trim_start);
    if text.starts_with('{') || list.is_some_and(|list| list.starts_with(['{', '[', '"', ']'])) {
        return Some(
            "it is JSON, and import reads CSV: write a table whose first line is username,email,full_name,roles",
        );
    }
    text.starts_with('<').then_some(
        "it is HTML or XML, and import reads CSV: if it is a table, open it in a spreadsheet program and save it as \"CSV \
         UTF-8\"; if it is a sign-in or error page, download the file again",
    )
}

/// Converts byte positions in the text to line numbers. The positions must increase, so that the text is read only
/// once.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// Returns the line number of the record at this position. Skips line breaks before the record, as the CSV reader
    /// does.
    pub(super) fn of_record(&mut self, at: usize) -> u64 {
        let rest = self.text.get(at..).unwrap_or_default();
        self.of_byte(at + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count())
    }

    fn of_byte(&mut self, at: usize) -> u64 {
        while self.at < at.min(self.text.len()) {
            // CR, LF and CR LF each end a line.
            let next = self.text.get(self.at + 1);
            let ends = match self.text[self.at] {
                b'\n' => true,
                b'\r' => next != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(ends);
            self.at += 1;
        }
        self.line
    }
}

fn line(text: &[u8], at: usize) -> u64 {
    Lines::of(text).of_byte(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16_file(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn r72_utf_8_and_utf_16_are_read_with_their_byte_order_marks() {
        let text = "username\r\nJos\u{e9} \u{1f600}\r\n";
        assert_eq!(decoded(text.as_bytes()).unwrap(), text);
        assert_eq!(decoded(format!("\u{feff}{text}").as_bytes()).unwrap(), text);
        assert_eq!(decoded(&utf_16_file(text, u16::to_le_bytes)).unwrap(), text);
        assert_eq!(decoded(&utf_16_file(text, u16::to_be_bytes)).unwrap(), text);
    }

    #[test]
    fn r72_an_encoding_that_cannot_be_read_is_named_with_its_line_and_the_remedy() {
        let broken_utf_16 = [&utf_16_file("a\nb", u16::to_le_bytes)[..], b"\x00\xd8x\0"].concat();
        for (bytes, parts) in [
            (&b"username\r\n\r\nJos\xe9\r\n"[..], ["line 3:", "Windows-1252", "\"CSV UTF-8\""]),
            (b"\xef\xbb\xbfusername\rJos\xe9", ["line 2:", "not UTF-8", "\"CSV UTF-8\""]),
            (b"u\0s\0e\0r\0\n\0\xe9\0", ["line 1:", "UTF-16 without a byte order mark", "\"CSV UTF-8\""]),
            (&broken_utf_16, ["line 2:", "not UTF-16", "\"CSV UTF-8\""]),
            (&broken_utf_16[..broken_utf_16.len() - 5], ["UTF-16", "not complete", "copy it again"]),
        ] {
            let said = decoded(bytes).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)) && !said.contains('\n'), "{parts:?}: {said}");
        }
    }

    #[test]
    fn r72_another_format_is_named_with_the_remedy() {
        let ole = [OLE, b"\0\0rest"].concat();
        for (bytes, parts) in [
            (&b"PK\x03\x04 [Content_Types].xml \xe9 xl/workbook.xml PK\x01\x02"[..], ["(XLSX)", "CSV UTF-8"]),
            (&ole, ["(XLS, or XLSX with a password)", "CSV UTF-8"]),
            (b"PK\x03\x04 mimetypeapplication/vnd.oasis.opendocument.spreadsheet", ["(ODS)", "UTF-8"]),
            (b"PK\x03\x04 Index/Document.iwa", ["Numbers", "export it to CSV"]),
            (b"PK\x03\x04 people.csv", ["zip archive", "unpack it"]),
            (b"\x1f\x8b\x08\0", ["gzip", "unpack it"]),
            (b"%PDF-1.7", ["PDF", "CSV UTF-8"]),
            (b"\xef\xbb\xbf [\n {\"username\": \"ada\"}]", ["JSON", "username,email,full_name,roles"]),
            (b"{\"users\": []}", ["JSON", "username,email,full_name,roles"]),
            (b"\r\n<!DOCTYPE html>", ["HTML", "download the file again"]),
            (&utf_16_file("<html>", u16::to_le_bytes), ["HTML", "CSV UTF-8"]),
            (b"", ["empty", "username,email,full_name,roles"]),
        ] {
            let said = decoded(bytes).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)) && !said.contains('\n'), "{parts:?}: {said}");
        }
        // A CSV file whose first column is called `PKW` begins with `PK`, like a zip archive.
        assert!(decoded(b"PKW,email\n").is_ok());
    }

    #[test]
    fn every_kind_of_line_break_counts_once() {
        let text = b"a\r\nb\nc\rd\r\n\r\ne";
        let at = |byte: u8| text.iter().position(|one| *one == byte).unwrap();
        let mut lines = Lines::of(text);
        assert_eq!([b'a', b'b', b'c', b'd', b'e'].map(|byte| lines.of_byte(at(byte))), [1, 2, 3, 4, 6]);
        // Position 2 is between CR and LF, where the CSV reader can stop.
        assert_eq!(Lines::of(text).of_record(2), 2);
    }
}
