//! Whether the payload's application may open the bridge.

use nix::unistd::Group;

use super::Findings;
use super::units::Systemd;
use crate::config::Config;
use crate::wire::local_socket::BRIDGE;

impl Findings {
    pub(super) fn bridge(&mut self, systemd: &Systemd, config: &Config) {
        let Some(link) = &config.link else { return };
        let group = Group::from_name(BRIDGE).ok().flatten();
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
                || group.as_ref().is_some_and(|group| is_member(group, user))
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

fn is_member(group: &Group, user: &str) -> bool {
    group.mem.iter().any(|member| member == user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_the_group_is_found() {
        let members = ["you", "me"].map(str::to_owned).to_vec();
        let (name, passwd, gid) = (BRIDGE.to_owned(), c"x".to_owned(), 7.into());
        let group = Group { name, passwd, gid, mem: members };
        assert!(is_member(&group, "me") && is_member(&group, "you"));
        assert!(!is_member(&group, "her") && !is_member(&group, "m"));
        assert!(!is_member(&Group { mem: Vec::new(), ..group }, "me"));
    }
}
