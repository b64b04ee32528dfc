//! Files that a pattern names, for rules and their tests: `rules/*.yml`, relative to a folder. `*` and `?` stand for parts of one name, `[a-c]` for a character.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use regex::Regex;

/// Files that match, in the order of their names; the folder itself is never part of the pattern.
///
/// # Errors
/// If a folder cannot be read, or the pattern is none.
pub fn files(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for part in Path::new(pattern).components() {
        let Component::Normal(name) = part else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            found = found.into_iter().map(|path| path.join(&*name)).filter(|path| path.exists()).collect();
            continue;
        }
        let regex = regex(&name)?;
        let mut matching = Vec::new();
        for path in found.iter().filter(|path| path.is_dir()) {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if regex.is_match(&entry.file_name().to_string_lossy()) {
                    matching.push(entry.path());
                }
            }
        }
        matching.sort();
        found = matching;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

fn regex(name: &str) -> io::Result<Regex> {
    let mut text = String::from("^");
    let mut in_class = false;
    for c in name.chars() {
        match c {
            '*' if !in_class => text.push_str(".*"),
            '?' if !in_class => text.push('.'),
            '[' | ']' => {
                in_class = c == '[';
                text.push(c);
            }
            '-' | '^' if in_class => text.push(c),
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push('$');
    Regex::new(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_next_to_the_tests() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.yml", "b.yml", "b.yaml", "x/a.yml", "y/a.yml"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let files = files(folder.path(), pattern).unwrap();
            files.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*.yml"), ["a.yml", "b.yml"]);
        assert_eq!(found("./[b-c].y*ml"), ["./b.yaml", "./b.yml"].map(|name| name.trim_start_matches("./")));
        assert_eq!(found("*/?.yml"), ["x/a.yml", "y/a.yml"]);
        assert_eq!(found("x/../a.yml"), ["x/../a.yml"]);
        assert!(found("*").len() == 3 && found("z.yml").is_empty());
    }
}
