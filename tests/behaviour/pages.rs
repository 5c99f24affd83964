//! The pages as a reader sees them: links that lead somewhere, examples that fit the column, lists that say
//! what each page is about.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::public_items::{before, between, documentation};

/// What fits the column of a registry's page, and of built documentation in a window of 1,100 pixels.
const COLUMN: usize = 84;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(self::files(&path, extension));
        } else if path.extension().is_some_and(|ending| ending == extension) {
            files.push(path);
        }
    }
    files
}

/// The README, the guide and the pages of the macros.
fn written() -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["runtime/docs/guide", "macros/src"].map(|folder| files(&project.join(folder), "md"));
    folders.into_iter().flatten().chain([project.join("README.md")]).collect()
}

/// The lines of a page's code, each with the language of its block.
fn code(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut language = None;
    page.lines().filter_map(move |line| match (line.strip_prefix("```"), language) {
        (Some(named), None) => {
            language = Some(named);
            None
        }
        (Some(_), Some(_)) => {
            language = None;
            None
        }
        (None, language) => Some((language?, line)),
    })
}

fn is_hidden(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// The pages of a folder that can be reached from its list of all items, with their text.
fn reached(folder: &Path) -> BTreeMap<PathBuf, String> {
    let folder = folder.canonicalize().unwrap();
    let mut pages = BTreeMap::new();
    let mut next = vec![folder.join("all.html")];
    while let Some(page) = next.pop() {
        if page.starts_with(&folder) && !pages.contains_key(&page) {
            let text = fs::read_to_string(&page).unwrap();
            next.extend(links(&text).filter_map(|(file, _)| beside(&page, file)));
            pages.insert(page, text);
        }
    }
    pages
}

/// The file and the anchor of each link to a page of the documentation itself. What other crates say of their
/// traits has links of theirs.
fn links(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let links = between(before(page, &["blanket-implementations"]), "href=\"", "\"");
    let links = links.filter(|link| !link.contains("://") && !link.contains("${"));
    links.map(|link| link.split_once('#').unwrap_or((link, "")))
}

/// The file that a page calls by this name.
fn beside(page: &Path, file: &str) -> Option<PathBuf> {
    if file.is_empty() { Some(page.to_owned()) } else { page.with_file_name(file).canonicalize().ok() }
}

#[test]
fn every_link_of_the_built_documentation_leads_somewhere() {
    let pages = reached(&documentation());
    let leads = |page: &Path, (file, anchor): (&str, &str)| {
        // Source code, which is not read here, has anchors for its lines.
        let has = |target: PathBuf| pages.get(&target).is_none_or(|text| text.contains(&format!("id=\"{anchor}\"")));
        beside(page, file).is_some_and(|target| anchor.is_empty() || has(target))
    };
    let mut broken = Vec::new();
    for (page, text) in &pages {
        let links = links(text).filter(|link| !leads(page, *link));
        broken.extend(links.map(|(file, anchor)| format!("{file}#{anchor} in {}", page.display())));
    }
    assert!(pages.len() > 100, "the documentation can be read");
    assert_eq!(broken, [""; 0]);
}

#[test]
fn no_line_of_an_example_is_cut_off() {
    for page in written() {
        let text = fs::read_to_string(&page).unwrap();
        let mut wide = code(&text).filter(|(_, line)| !is_hidden(line) && line.chars().count() > COLUMN);
        assert_eq!(wide.next(), None, "{}", page.display());
    }
}

/// A registry shows what rustdoc hides.
#[test]
fn the_readme_hides_no_line_of_an_example() {
    let readme = include_str!("../../README.md");
    assert_eq!(code(readme).find(|(language, line)| language.starts_with("rust") && is_hidden(line)), None);
}

/// The first line is what a list of pages shows.
#[test]
fn each_page_of_the_guide_begins_with_a_sentence_about_it() {
    for page in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/docs/guide"), "md") {
        let text = fs::read_to_string(&page).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with(char::is_uppercase) && first.ends_with('.'), "{first:?} in {}", page.display());
        assert!(rest.starts_with('\n'), "the sentence stands alone in {}", page.display());
    }
}
