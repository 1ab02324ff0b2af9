//! Fuzzes the CSV file for `flexgate users import`. Also checks that an export of the same people can be imported.

use flexgate::domain::policy::{JustInTime, Policy};
use flexgate::domain::{Role, RoleSet, TokenTtl};

use crate::Outcome;
use crate::users::{export, import};

/// If a cell begins with one of these characters, a spreadsheet program treats the cell as a formula. So an export must
/// contain no such cell.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(crate) fn run(input: &[u8]) -> Outcome {
    let policy = Policy {
        allowed_roles: [Role::Agent, Role::Supervisor].into(),
        default_roles: RoleSet::new(),
        just_in_time: JustInTime::Off,
        max_ttl: TokenTtl::MAX,
    };
    let people = match import::people(input, &policy) {
        Ok(people) => people,
        Err(mistakes) => {
            for mistake in mistakes {
                assert!(!mistake.contains(char::is_control), "a mistake in several lines: {mistake:?}");
            }
            return Outcome::Refused;
        }
    };
    assert!(people.iter().flat_map(|person| person.roles.iter()).all(|role| *role != Role::Admin), "a forbidden role");
    // Leave out rows without roles. An import only compares such rows with Flex, and an export does not write them.
    let people: Vec<_> = people.into_iter().filter(|person| !person.roles.is_empty()).collect();
    if people.is_empty() {
        return Outcome::Accepted;
    }
    let file = export(&people);
    for record in csv::Reader::from_reader(file.as_slice()).records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(FORMULA), "a spreadsheet program would run {cell:?}");
        }
    }
    assert_eq!(import::people(&file, &policy), Ok(people), "{}", String::from_utf8_lossy(&file));
    Outcome::Accepted
}
