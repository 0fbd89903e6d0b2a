//! Rules and profile together: may this frame have an effect.

use super::{Asking, Decision, Permissions, Target, Verb};
use crate::destination::{Destinations, Kind, Pattern, is_pattern};

/// What holds where no rule speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Clients send to application destinations; they subscribe to broker destinations, to patterns of those without `**`,
    /// and to the destinations of their own user.
    Guarded,
    /// What Spring's simple broker opens: every destination by its name. Patterns over several users are closed.
    Spring,
}

/// Decides about frames of clients.
#[derive(Debug)]
pub struct Gate {
    rules: Permissions,
    profile: Profile,
    close: bool,
    open: bool,
    users: Option<Pattern>,
}

/// Why a frame has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Who decided, for the metric: `rule`, `own-rule` or `profile`.
    pub by: &'static str,
    /// One line for the client.
    pub message: String,
}

impl Gate {
    /// The rules of a node, what holds where they are silent, and whether a refused frame ends its session.
    #[must_use]
    pub fn new(rules: Permissions, profile: Profile, close: bool, destinations: &Destinations) -> Self {
        let open = profile == Profile::Spring && !rules.speak_about(Verb::Send);
        let users = Pattern::parse(&format!("{}**", destinations.user_prefix())).ok();
        Self { rules, profile, close, open, users }
    }

    /// Whether every SEND may pass, so that nothing needs to be asked for a user without rules of its own.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether a refused frame ends its session.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.close
    }

    /// What holds where no rule speaks.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether a frame may have its effect. `kind` is what its destination means, `target` the same under its canonical
    /// name, `own` the rules that came with the user, which speak first.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn ask(
        &self,
        own: Option<&Permissions>,
        verb: Verb,
        kind: &Kind<'_>,
        target: Target<'_>,
        asking: &Asking<'_>,
    ) -> Result<(), Denial> {
        let name = target.text();
        let asked = [(own, "own-rule", "a rule of this user"), (Some(&self.rules), "rule", "permissions.rule")];
        for (rules, by, who) in asked {
            match rules.and_then(|rules| rules.decide(verb, target, asking)) {
                None => {}
                Some(Decision::Allowed) => return Ok(()),
                Some(Decision::Denied { rule }) => {
                    let part = if let Target::Pattern(_) = target { ", for a part of it at least" } else { "" };
                    let message = format!("{} to {name:?}: forbidden by {who} {rule:?}{part}", verb.as_str());
                    return Err(Denial { by, message });
                }
            }
        }
        let reason = match verb {
            Verb::Send => self.send(kind),
            Verb::Subscribe => self.subscribe(kind, target, asking),
        };
        reason.map_err(|reason| {
            let profile = self.profile.as_str();
            let (verb, key) = (verb.as_str(), verb.key());
            Denial {
                by: "profile",
                message: format!(
                    "{verb} to {name:?}: forbidden by profile {profile}: {reason}; allow it with \
                     [[permissions.rule]] match = {name:?}, {key} = \"allow\""
                ),
            }
        })
    }

    fn send(&self, kind: &Kind<'_>) -> Result<(), &'static str> {
        match (self.profile, kind) {
            (Profile::Guarded, Kind::Broker) => Err("clients send to broker destinations through routes"),
            (Profile::Guarded, Kind::UserExplicit { .. }) => Err("clients send to users through routes"),
            _ => Ok(()),
        }
    }

    fn subscribe(&self, kind: &Kind<'_>, target: Target<'_>, asking: &Asking<'_>) -> Result<(), &'static str> {
        let guarded = self.profile == Profile::Guarded;
        match (kind, target) {
            (Kind::UserExplicit { addressee, .. }, Target::Pattern(_)) if is_pattern(addressee) => Err(SEVERAL),
            (Kind::UserExplicit { addressee, .. }, _) => match asking.segment_user() {
                Some(user) if *user == **addressee => Ok(()),
                _ if guarded => Err("only the user itself subscribes to a user's destinations"),
                _ => Ok(()),
            },
            // A broker prefix may be so short that a pattern behind it reaches into the user prefix.
            (Kind::Broker, Target::Pattern(pattern)) if self.reaches_users(pattern) => Err(SEVERAL),
            // `/user/**` reaches nobody; whoever tries it learns why.
            (Kind::Unknown, Target::Pattern(pattern)) if self.begins_with_user(pattern) => Err(SEVERAL),
            (Kind::Broker, Target::Pattern(pattern)) if guarded && pattern.has_deep() => {
                Err("clients do not subscribe to patterns with **")
            }
            _ => Ok(()),
        }
    }

    fn begins_with_user(&self, pattern: &Pattern) -> bool {
        let prefix = self.users.as_ref().map_or("", |users| users.as_str().trim_end_matches('*'));
        pattern.as_str().starts_with(prefix)
    }

    fn reaches_users(&self, pattern: &Pattern) -> bool {
        self.users.as_ref().is_none_or(|users| users.overlaps(pattern))
    }
}

const SEVERAL: &str = "the pattern may match the destinations of several users";

impl Profile {
    /// As the configuration calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guarded => "guarded",
            Self::Spring => "spring",
        }
    }
}

impl<'a> Target<'a> {
    /// The destination or pattern as text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        match self {
            Self::Exact(destination) => destination,
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}
