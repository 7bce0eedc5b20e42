//! Mutants that may pass, each with the reason. `*` stands for any text.

/// Mutants that make no difference that anybody could see.
#[derive(Debug)]
pub(super) struct Equivalent {
    /// Names of stories.
    pub(super) stories: &'static [&'static str],
    /// Names of mutants.
    pub(super) mutants: &'static [&'static str],
    /// Why.
    pub(super) _reason: &'static str,
}

/// Stories in which a swap makes the second copy of its trial.
const COPIED: &[&str] = &[
    "exchange*",
    "hard link",
    "copy*",
    "first installation*",
    "restart refused",
    "health command fails",
    "of itself*",
    "after another: exchange",
    "after another: hard link",
    "after another: copy",
];

pub(super) const EQUIVALENTS: &[Equivalent] = &[
    Equivalent {
        stories: &["*"],
        mutants: &[
            "Create *.json.new (*)* before *",
            "Create incoming before *",
            "Create payload.kept before *",
            "Link payload payload.kept before *",
        ],
        _reason: "a new file, or another name of an old one, under a temporary name that nobody reads",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "without Sync incoming",
            "Sync incoming before Write incoming",
            "Rename incoming payload.next before Sync incoming [2]",
        ],
        _reason: "the swap syncs the file again before the path changes hands",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "Write incoming before Allocate incoming",
            "SetMode * before SetOwner *",
            "SetAttribute * before SetMode *",
            "SetOwner payload.kept before Write payload.kept",
        ],
        _reason: "the same file in the end, and one sync for both; that a change of owner clears capabilities is tested with the swap",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "SetOwner incoming before SyncDirectory state (rescue)",
            "SetMode incoming before SyncDirectory state (rescue)",
        ],
        _reason: "owner and mode of a staged file change nothing that was announced",
    },
    Equivalent {
        stories: &["*"],
        mutants: &["SyncDirectory .uplift* before SyncDirectory bin*"],
        _reason: "nothing lies between them",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "SyncDirectory bin* before Rename payload.next payload.previous",
            "SyncDirectory bin* before Remove payload.next",
        ],
        _reason: "a change in the staging area alone, and the sync of that follows both",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "without SyncDirectory state (restarting)",
            "SyncDirectory state (restarting) before *",
            "without SyncDirectory state (trial)",
            "SyncDirectory state (trial) before *",
            "without SyncDirectory state (restarting-back)",
            "SyncDirectory state (restarting-back) before *",
        ],
        _reason: "the entry before it, the boot and the program at the path tell the same",
    },
    Equivalent {
        stories: &[
            "exchange",
            "exchange, three boots",
            "exchange, of another owner",
            "hard link",
            "copy*",
            "first installation*",
            "restart refused",
            "rollback by exchange",
            "rollback by hard link",
            "rollback by copy",
            "rollback by the rescue",
            "rollback of *",
            "health command fails",
            "of itself*",
            "after another*",
        ],
        mutants: &[
            "without SyncDirectory state (history)",
            "SyncDirectory state (history) before *",
        ],
        _reason: "the state file is synced in the same directory before anybody is told, and a lost history is completed from it",
    },
    Equivalent {
        stories: &[
            "exchange, three boots",
            "restart refused",
            "*rollback *",
            "health command fails",
            "of itself*",
        ],
        mutants: &[
            "without SyncDirectory state (concluded)",
            "SyncDirectory state (concluded) before *",
        ],
        _reason: "the upgrade is concluded once more, and its end is the same: a trial that may be repeated, or a rollback that is over",
    },
    Equivalent {
        stories: &["rollback by hand"],
        mutants: &[
            "without SyncDirectory state (acknowledged)",
            "SyncDirectory state (acknowledged) before *",
        ],
        _reason: "the rollback is over, and concluded once more in the same way",
    },
    Equivalent {
        stories: &["*rollback by the rescue"],
        mutants: &["without SyncDirectory state (rescue)", "SyncDirectory state (rescue) before *"],
        _reason: "the copy of before is there, and a count that is lost gives the trial one boot more",
    },
    Equivalent {
        stories: &["of itself, hangs*"],
        mutants: &[
            "without SyncDirectory state (rescue) [2]",
            "SyncDirectory state (rescue) [2] before *",
        ],
        _reason: "the daemon's copy is there, and a look that is lost begins the deadline anew",
    },
    Equivalent {
        stories: COPIED,
        mutants: &[
            "Rename rescue.json.new rescue.json (rescue) before Sync rescue.json.new (rescue)",
        ],
        _reason: "both come before the path changes hands, and until then no copy is needed",
    },
    Equivalent {
        stories: COPIED,
        mutants: &[
            "without SyncDirectory state (installing)",
            "SyncDirectory state (installing) before Rename state.json.new state.json (installing)",
        ],
        _reason: "the second copy lies in the same directory, and is synced before the path changes hands",
    },
    Equivalent {
        stories: &["rollback by hand"],
        mutants: &[
            "without Sync rescue.json.new (rescue)",
            "Sync rescue.json.new (rescue) before Write rescue.json.new (rescue)",
            "Rename rescue.json.new rescue.json (rescue) before Sync rescue.json.new (rescue)",
            "without SyncDirectory state (rescue)",
            "SyncDirectory state (rescue) before *",
            "Exchange payload.previous payload before SyncDirectory state (rescue)",
        ],
        _reason: "the second copy serves where the state is lost besides, which is not asked here: the program that goes had succeeded",
    },
    Equivalent {
        stories: &["*"],
        mutants: &[
            "Remove rescue.json (*) before SyncDirectory state (*)",
            "SyncDirectory state (*) [2] before Remove rescue.json (*)",
            "without SyncDirectory state (concluded) [2]",
            "without SyncDirectory state (acknowledged) [2]",
            "Remove payload.older before SyncDirectory state (concluded) [2]",
        ],
        _reason: "a copy of a trial that is over is removed by the next daemon; the report of it is durable, or the state holds the trial still",
    },
    Equivalent {
        stories: &["*rollback by the rescue", "of itself, hangs*"],
        mutants: &[
            "without SyncDirectory state (ruling) [2]",
            "SyncDirectory state (ruling) [2] before *",
        ],
        _reason: "how far a ruling was carried out; the program at the path tells it too",
    },
    Equivalent {
        stories: &["*rollback by the rescue"],
        mutants: &[
            "without SyncDirectory state (ruling) [3]",
            "SyncDirectory state (ruling) [3] before *",
        ],
        _reason: "how far a ruling was carried out; the program at the path tells it too",
    },
    Equivalent {
        stories: &["hard link", "copy*", "first installation*"],
        mutants: &[
            "without SyncDirectory .uplift",
            "SyncDirectory .uplift before Rename incoming payload.next",
        ],
        _reason: "where nothing is exchanged, the staging area is synced once more before the path changes hands",
    },
    Equivalent {
        stories: &["copy*"],
        mutants: &["Rename payload.kept payload.previous before Sync payload.kept"],
        _reason: "both come before the path changes hands, and until then the old program is there",
    },
    Equivalent {
        stories: &["first installation by link"],
        mutants: &["without SyncDirectory .uplift [3]"],
        _reason: "the program keeps a second name, which the next swap removes",
    },
    Equivalent {
        stories: &["restart refused"],
        mutants: &["without SyncDirectory bin [2]", "without SyncDirectory .uplift [2]"],
        _reason: "a swap that is lost before the restart is reported as rolled back, which is true",
    },
    Equivalent {
        stories: &["restart refused"],
        mutants: &[
            "without SyncDirectory state (reverting)",
            "SyncDirectory state (reverting) before *",
            "Exchange payload.previous payload before SyncDirectory state (reverting)",
        ],
        _reason: "the new program never ran: the restart is asked for again, or the old program is found at the path",
    },
    Equivalent {
        stories: &["rollback by exchange", "rollback by the rescue", "rollback by hand"],
        mutants: &[
            "without SyncDirectory .uplift [2]",
            "SyncDirectory .uplift [2] before Rename *",
        ],
        _reason: "the program that failed has its name of before, from which the next swap takes it away",
    },
    Equivalent {
        stories: &["restart refused", "health command fails", "of itself, hangs*"],
        mutants: &[
            "without SyncDirectory .uplift [4]",
            "SyncDirectory .uplift [4] before Rename *",
        ],
        _reason: "the program that failed has its name of before, from which the next swap takes it away",
    },
    Equivalent {
        stories: &["of itself, hangs in another format"],
        mutants: &[
            "without SyncDirectory state (of its own)",
            "SyncDirectory state (of its own) before *",
        ],
        _reason: "what the new daemon wrote is of no use to the old one; without it the old one finds its own",
    },
    Equivalent {
        stories: &["of itself, hangs in another format"],
        mutants: &[
            "* state.json.damaged.new (of its own) before *",
            "Rename state.json.damaged.new * before *",
            "without Sync state.json.damaged.new (of its own)",
            "without SyncDirectory state (of its own) [2]",
            "SyncDirectory state (of its own) [2] before *",
        ],
        _reason: "the copy that is set aside is for people",
    },
    Equivalent {
        stories: &["of itself, hangs in another format"],
        mutants: &[
            "without SyncDirectory state (of its own) [3]",
            "SyncDirectory state (of its own) [3] before *",
        ],
        _reason: "what is kept of a state in another format is kept once more, and is the same",
    },
    Equivalent {
        stories: &["of itself, hangs in another format"],
        mutants: &[
            "without Sync state.json.new (restarting)",
            "Sync state.json.new (restarting) before *",
            "Rename state.json.new state.json (restarting) before Sync *",
            "Rename state.json.new state.json (of its own) before Sync *",
        ],
        _reason: "a damaged state ends in the same rollback, by the second copy; that something is damaged may be said in this story",
    },
    Equivalent {
        stories: &["of itself, hangs in another format"],
        mutants: &[
            "without SyncDirectory state (concluded) [2]",
            "SyncDirectory state (concluded) [2] before *",
        ],
        _reason: "a state that was lost is written even where nothing in it is new; here it says what it said before",
    },
    Equivalent {
        stories: &["rollback of a first installation"],
        mutants: &[
            "without SyncDirectory .uplift [2]",
            "SyncDirectory .uplift [2] before Remove payload.previous",
        ],
        _reason: "the word that no program was there outlives its use; the next swap replaces it",
    },
    Equivalent {
        stories: &["after another: exchange", "after another: hard link", "after another: copy"],
        mutants: &["Rename payload.previous payload.older before Rename incoming payload.next"],
        _reason: "both come before the sync of the staging area, and the path changes hands after that",
    },
    Equivalent {
        stories: &["after another: rollback *"],
        mutants: &[
            "without SyncDirectory .uplift [3]",
            "SyncDirectory .uplift [3] before Rename payload.older payload.previous",
        ],
        _reason: "the program before the last success has its name of the trial, and the next daemon gives it its own",
    },
    Equivalent {
        stories: &["*rollback by hard link", "*rollback by copy"],
        mutants: &[
            "without SyncDirectory .uplift",
            "SyncDirectory .uplift before Rename payload.kept payload.failed",
            "Rename payload.previous payload before SyncDirectory .uplift",
        ],
        _reason: "the program that failed is kept for inspection only",
    },
    Equivalent {
        stories: &["*rollback by copy"],
        mutants: &[
            "without Sync payload.kept",
            "Sync payload.kept before SetMode payload.kept",
            "Rename payload.kept payload.failed before Sync payload.kept",
        ],
        _reason: "the copy of the program that failed is kept for inspection only",
    },
];

impl Equivalent {
    pub(super) fn is_in(&self, story: &str) -> bool {
        self.stories.iter().any(|pattern| matches(pattern, story))
    }
}

/// Whether the text is the pattern, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|i| rest.is_char_boundary(i) && matches(after, &rest[i..]))
        }),
    }
}
