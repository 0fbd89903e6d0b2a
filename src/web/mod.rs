//! The page that `GET /` shows on a fresh start: rooms with chat and shared text, and the frames as they pass.
//!
//! Everything is compiled in, so the demo works offline and cannot go missing; serving it is left to the transport.
//! The page uses nothing but its own files, which lets [`CONTENT_SECURITY_POLICY`] forbid everything else.

/// The routes, rooms and policies that the page relies on, as a piece of `stampede.toml`.
pub const DEMO_CONFIG: &str = include_str!("demo.toml");

/// The policy to send with every asset: scripts, styles, images and connections of this origin, nothing inline,
/// no frames around the page.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What stands at `path`, with its content type; `None` if the demo has no such file.
#[must_use]
pub fn asset(path: &str) -> Option<(&'static str, &'static [u8])> {
    ASSETS.iter().find(|asset| asset.path == path).map(|asset| (asset.content_type, asset.content))
}

struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const ASSETS: [Asset; 9] = [
    Asset { path: "/", content_type: HTML, content: include_bytes!("index.html") },
    Asset { path: "/demo/icon.svg", content_type: SVG, content: include_bytes!("icon.svg") },
    Asset { path: "/demo/style.css", content_type: CSS, content: include_bytes!("style.css") },
    Asset { path: "/demo/app.js", content_type: SCRIPT, content: include_bytes!("app.js") },
    Asset { path: "/demo/editor.js", content_type: SCRIPT, content: include_bytes!("editor.js") },
    Asset { path: "/demo/frames.js", content_type: SCRIPT, content: include_bytes!("frames.js") },
    Asset { path: "/demo/stomp.js", content_type: SCRIPT, content: include_bytes!("stomp.js") },
    Asset { path: "/demo/text.js", content_type: SCRIPT, content: include_bytes!("text.js") },
    Asset { path: "/demo/beat.js", content_type: SCRIPT, content: include_bytes!("beat.js") },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        let (_, content) = asset(path).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    /// The value of every `name="…"` (or `name "…"`) in `text`.
    fn quoted<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        text.split(name).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn everything_the_page_asks_for_is_here() {
        let page = text("/");
        let references = [quoted(page, "src=\""), quoted(page, "href=\"")].concat();
        let files: Vec<_> = references.into_iter().filter(|reference| !reference.starts_with('#')).collect();
        assert!(files.contains(&"/demo/app.js") && files.contains(&"/demo/style.css"), "{files:?}");
        for file in files {
            assert!(asset(file).is_some(), "{file} is missing");
        }
        assert!(text("/demo/app.js").contains("new Worker(\"/demo/beat.js\")"));
    }

    #[test]
    fn every_import_of_a_module_is_here() {
        for module in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT) {
            for import in quoted(text(module.path), " from \"./") {
                assert!(asset(&format!("/demo/{import}")).is_some(), "{} imports {import}", module.path);
            }
        }
    }

    #[test]
    fn the_page_has_nothing_that_its_policy_forbids() {
        let page = text("/");
        for inline in ["<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
            assert!(!page.contains(inline), "{inline} in the page");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/demo/").count());
        assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
    }

    #[test]
    fn the_configuration_that_the_page_relies_on_is_valid() {
        #[derive(serde::Deserialize)]
        struct Sections {
            route: Vec<crate::config::routes::RouteConfig>,
            room: Vec<crate::config::rooms::RoomConfig>,
            destination: Vec<crate::config::DestinationPolicy>,
        }
        let sections: Sections = toml::from_str(DEMO_CONFIG).unwrap();
        let destinations = crate::destination::Destinations::default();
        crate::routes::check(&sections.route, &destinations, DEMO_CONFIG, "demo.toml").unwrap();
        crate::rooms::check(&sections.room, &destinations, DEMO_CONFIG, "demo.toml").unwrap();
        assert!(sections.destination.iter().all(|policy| policy.keep.is_some()));
    }

    #[test]
    fn other_paths_are_nothing() {
        for path in ["", "/index.html", "/demo", "/demo/", "/demo/mod.rs", "/demo/../app.js", "/demo/demo.toml"] {
            assert_eq!(asset(path), None, "{path}");
        }
    }
}
