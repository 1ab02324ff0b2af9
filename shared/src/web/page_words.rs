//! The text of the HTML page that a person sees instead of a problem document.

/// How the page looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing is broken: the person has cancelled, or the sign-in has expired, for example.
    Calm,
    /// Something does not work.
    Fault,
}

/// What the page says to the person, and how it looks.
#[derive(Debug, PartialEq, Eq)]
pub struct PageWords {
    /// What has happened.
    pub(super) title: &'static str,
    /// What the person can do.
    pub(super) text: &'static str,
    /// How the page looks.
    pub(super) tone: Tone,
    /// Whether it may help to load the page again.
    pub(super) can_reload: bool,
}

impl PageWords {
    /// Creates the text of a page for a situation in which nothing is broken.
    #[must_use]
    pub const fn calm(title: &'static str, text: &'static str) -> Self {
        Self { title, text, tone: Tone::Calm, can_reload: false }
    }

    /// Creates the text of a page about a failure.
    #[must_use]
    pub const fn fault(title: &'static str, text: &'static str) -> Self {
        Self { title, text, tone: Tone::Fault, can_reload: false }
    }

    /// Adds a link that loads the page again, because a reload may help.
    pub(super) const fn reload(self) -> Self {
        Self { can_reload: true, ..self }
    }
}
