//! Whether the payload's application may open the bridge.

use std::fs;

use super::Findings;
use super::units::Systemd;
use crate::config::Config;
use crate::wire::local_socket::BRIDGE;

impl Findings {
    pub(super) fn bridge(&mut self, systemd: &Systemd, config: &Config) {
        let Some(link) = &config.link else { return };
        let names = link.components.iter();
        let programs = names.filter_map(|name| config.components.get(*name)?.program());
        for (program, unit) in programs.filter_map(|one| Some((one, one.unit.as_deref()?))) {
            let Ok(properties) =
                systemd.properties(unit, &["User", "Group", "SupplementaryGroups"])
            else {
                continue; // told already
            };
            let of = |name: &str| properties.get(name).map_or("", |value| value.trim());
            let groups = [of("Group"), of("SupplementaryGroups")].join(" ");
            let user = of("User");
            if matches!(user, "" | "root")
                || groups.split_whitespace().any(|group| group == BRIDGE)
                || is_member(&fs::read_to_string("/etc/group").unwrap_or_default(), user)
            {
                continue;
            }
            let sentence = format!(
                "{unit} runs as {user}, who is not in the group {BRIDGE}: the bridge does not let it in"
            );
            let hint = format!("add `SupplementaryGroups={BRIDGE}` to the unit");
            self.warning(program.common.field("unit"), sentence, hint);
        }
    }
}

/// Whether a user is in the group, by the text of /etc/group.
fn is_member(groups: &str, user: &str) -> bool {
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut members = fields.filter(|fields| fields.first() == Some(&BRIDGE));
    members.any(|fields| {
        fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_the_group_is_found() {
        let groups = "root:x:0:\nuplift-bridge:x:7:you,me\nother:x:8:her\n";
        assert!(is_member(groups, "me") && is_member(groups, "you"));
        assert!(!is_member(groups, "her") && !is_member(groups, "m") && !is_member("", "me"));
    }
}
