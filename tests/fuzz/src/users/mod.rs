//! The modules of `infra/cli` that read and write CSV files. `infra/cli` is not a library, so this package compiles its
//! source files.

use flexgate::domain::DesiredUser;

#[path = "../../../../infra/cli/src/users/cells.rs"]
mod cells;
pub(crate) mod import;

/// Writes the people as `flexgate users export` does.
pub(crate) fn export(people: &[DesiredUser]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells::COLUMNS).unwrap();
    for person in people {
        let roles: Vec<_> = person.roles.iter().map(|role| role.as_str()).collect();
        let (username, email, name) = (person.username.as_str(), person.email.as_str(), person.full_name.as_str());
        let roles = roles.join(";");
        let cells = [username, email, name, &roles].map(cells::written);
        writer.write_record(cells.iter().map(AsRef::as_ref)).unwrap();
    }
    writer.into_inner().unwrap()
}
