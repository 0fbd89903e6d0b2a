//! Replays `fixtures/config`: what is valid is taken, what is not is refused with the text beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::rooms::{RoomConfig, RoomsConfig};
use crate::config::routes::RouteConfig;
use crate::destination::Destinations;

/// The sections that are checked here; others have their own tests.
#[derive(Deserialize)]
struct Sections {
    #[serde(default)]
    route: Vec<RouteConfig>,
    #[serde(default)]
    room: Vec<RoomConfig>,
    #[serde(default)]
    rooms: RoomsConfig,
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config").join(kind);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".toml") && (name.starts_with("route") || name.starts_with("room"))
    };
    files.filter(ours).collect()
}

/// What both checks say about a file, one problem per line.
fn problems(path: &Path) -> String {
    let source = fs::read_to_string(path).unwrap();
    let file = path.file_name().unwrap().to_string_lossy();
    let sections: Sections = toml::from_str(&source).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(sections.rooms.max_rooms > 0);
    let destinations = Destinations::default();
    let mut found = crate::routes::check(&sections.route, &destinations, &source, &file).err().unwrap_or_default();
    found.extend(super::check(&sections.room, &destinations, &source, &file).err().unwrap_or_default());
    found.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn what_is_valid_is_taken() {
    let files = fixtures("valid");
    assert!(!files.is_empty());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/co-editing/stampede.toml");
    for path in files.into_iter().chain([example]) {
        assert_eq!(problems(&path), "", "{}", path.display());
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let files = fixtures("invalid");
    assert!(!files.is_empty());
    for path in files {
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        assert_eq!(problems(&path), expected, "{}", path.display());
    }
}
