//! The settings of the HTML page.

use url::Url;

use crate::base::settings::Reader;

/// The maximum length of the name, in characters. A longer name would not fit on the page.
const LONGEST_NAME: usize = 60;

/// The name, logo and help link on the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageSettings {
    /// `FLEXGATE_PAGE_NAME`: the name of the company or of its contact centre.
    pub name: Option<String>,
    /// `FLEXGATE_PAGE_LOGO`: the address of the logo.
    pub logo: Option<Url>,
    /// `FLEXGATE_PAGE_HELP`: the address of the help link. It begins with `https://`, `mailto:` or `tel:`.
    pub help: Option<Url>,
}

impl PageSettings {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let name = reader.optional("FLEXGATE_PAGE_NAME", |text| {
            let is_usable = text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
            if is_usable { Ok(text.to_owned()) } else { Err("must be one line of at most 60 characters") }
        });
        let logo = reader.optional("FLEXGATE_PAGE_LOGO", |text| address(text, &["https"], "https://"));
        let schemes = ["https", "mailto", "tel"];
        let help = reader.optional("FLEXGATE_PAGE_HELP", |text| address(text, &schemes, "https://, mailto: or tel:"));
        Some(Self { name: name?, logo: logo?, help: help? })
    }
}

/// Reads an address with one of these schemes. Refuses any other scheme, because a `javascript:` address could run code
/// in the page.
fn address(text: &str, schemes: &[&str], expected: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()));
    url.ok_or_else(|| format!("must be an address that begins with {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variable: &str, value: &str) -> Option<PageSettings> {
        let mut reader = Reader::empty().with([(variable, value)]);
        let settings = PageSettings::read(&mut reader);
        reader.finish(settings).ok()
    }

    #[test]
    fn r91_addresses_that_a_page_could_run_and_names_that_do_not_fit_are_refused() {
        for value in ["https://cdn.example/logo.svg", "https://cdn.example/a%20b.png?v=1"] {
            assert!(read("FLEXGATE_PAGE_LOGO", value).is_some(), "{value}");
        }
        for value in
            ["http://cdn.example/logo.svg", "javascript:alert(1)", "data:image/png;base64,AA==", "/logo.svg", "x"]
        {
            assert!(read("FLEXGATE_PAGE_LOGO", value).is_none(), "{value}");
        }
        for value in ["https://help.example/flex", "mailto:help@example.com", "tel:+15550100"] {
            assert!(read("FLEXGATE_PAGE_HELP", value).is_some(), "{value}");
        }
        for value in ["javascript:alert(1)", "http://help.example", "help@example.com"] {
            assert!(read("FLEXGATE_PAGE_HELP", value).is_none(), "{value}");
        }
        assert!(read("FLEXGATE_PAGE_NAME", &"n".repeat(60)).is_some());
        assert!(read("FLEXGATE_PAGE_NAME", &"n".repeat(61)).is_none());
        assert!(read("FLEXGATE_PAGE_NAME", "Example\nCompany").is_none());
    }
}
