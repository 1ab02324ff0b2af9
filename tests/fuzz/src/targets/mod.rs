//! The targets, one file for each kind of input.

pub(crate) mod callback;
pub(crate) mod cookie;
pub(crate) mod csv;
pub(crate) mod event;
pub(crate) mod jwt;
pub(crate) mod return_to;
pub(crate) mod scim_filter;
pub(crate) mod scim_patch;
pub(crate) mod settings;
pub(crate) mod webhook;
