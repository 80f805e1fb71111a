//! The dependency graph, and the rules on its edges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use serde_json::Value;

use super::{EDGES, IMPURE, PURE};

/// One package of the resolved graph.
pub(super) struct Package {
    pub(super) name: String,
    /// The folder of the package's manifest.
    pub(super) folder: PathBuf,
    member: bool,
    /// Ids of normal and build dependencies; what only tests use is left out.
    dependencies: Vec<String>,
}

/// The resolved packages by id.
pub(super) struct Graph {
    packages: BTreeMap<String, Package>,
}

impl Graph {
    /// Reads what `cargo metadata --format-version 1` prints.
    ///
    /// # Errors
    ///
    /// A message that names the part that was not as expected.
    pub(super) fn from_metadata(metadata: &Value) -> Result<Graph, String> {
        let list = |value: &'_ Value, key: &str| -> Result<Vec<Value>, String> {
            let items = value.get(key).and_then(Value::as_array);
            items
                .cloned()
                .ok_or_else(|| format!("cargo metadata: no list `{key}`"))
        };
        let text = |value: &Value, key: &str| -> Result<String, String> {
            let text = value.get(key).and_then(Value::as_str);
            text.map(str::to_owned)
                .ok_or_else(|| format!("cargo metadata: no text `{key}`"))
        };
        let members: BTreeSet<String> = list(metadata, "workspace_members")?
            .iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        let mut packages = BTreeMap::new();
        for package in list(metadata, "packages")? {
            let id = text(&package, "id")?;
            let mut folder = PathBuf::from(text(&package, "manifest_path")?);
            folder.pop();
            let package = Package {
                name: text(&package, "name")?,
                folder,
                member: members.contains(&id),
                dependencies: Vec::new(),
            };
            packages.insert(id, package);
        }
        let resolve = metadata
            .get("resolve")
            .ok_or("cargo metadata: no resolved graph")?;
        for node in list(resolve, "nodes")? {
            let id = text(&node, "id")?;
            let mut dependencies = Vec::new();
            for dependency in list(&node, "deps")? {
                let kinds = list(&dependency, "dep_kinds")?;
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    dependencies.push(text(&dependency, "pkg")?);
                }
            }
            if let Some(package) = packages.get_mut(&id) {
                package.dependencies = dependencies;
            }
        }
        Ok(Graph { packages })
    }

    /// The packages of this workspace.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.member)
    }

    /// The shortest way from a package to each package that it reaches, as
    /// names, the start included.
    fn ways_from<'a>(&'a self, start: &'a Package) -> Vec<Vec<&'a str>> {
        let mut seen = BTreeSet::new();
        let mut ways = Vec::new();
        let mut queue = VecDeque::from([(start, vec![start.name.as_str()])]);
        while let Some((package, way)) = queue.pop_front() {
            for id in &package.dependencies {
                let Some(next) = self.packages.get(id) else {
                    continue;
                };
                if seen.insert(id) {
                    let mut way = way.clone();
                    way.push(&next.name);
                    ways.push(way.clone());
                    queue.push_back((next, way));
                }
            }
        }
        ways
    }
}

/// Every edge that is not in the table, and every pure crate that reaches
/// something impure.
pub(super) fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for member in graph.members() {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == member.name) else {
            found.push(format!(
                "{}: a crate without a place in the table of edges (xtask/src/layers.rs)",
                member.name
            ));
            continue;
        };
        for id in &member.dependencies {
            let Some(dependency) = graph.packages.get(id) else {
                continue;
            };
            if dependency.member && !allowed.contains(&dependency.name.as_str()) {
                found.push(format!(
                    "{} must not depend on {}",
                    member.name, dependency.name
                ));
            }
        }
        if PURE.contains(&member.name.as_str()) {
            for way in graph.ways_from(member) {
                if way.last().is_some_and(|name| is_impure(name)) {
                    found.push(format!("pure crate reaches {}", way.join(" -> ")));
                }
            }
        }
    }
    found
}

fn is_impure(name: &str) -> bool {
    IMPURE.iter().any(|rule| match rule.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *rule,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A dependency and its kind (`None` is a normal one).
    type Edge<'a> = (&'a str, Option<&'a str>);

    /// Builds a graph of packages and their edges; names that begin with
    /// `gateway-` are members.
    fn check(packages: &[(&str, &[Edge<'_>])], expected: &[&str]) {
        let metadata = json!({
            "workspace_members": packages.iter().map(|(name, _)| *name)
                .filter(|name| name.starts_with("gateway-")).collect::<Vec<_>>(),
            "packages": packages.iter().map(|(name, _)| json!({
                "id": name, "name": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
            })).collect::<Vec<_>>(),
            "resolve": {"nodes": packages.iter().map(|(name, deps)| json!({
                "id": name,
                "deps": deps.iter().map(|(dep, kind)| json!({
                    "pkg": dep, "dep_kinds": [{"kind": kind}],
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>()},
        });
        let graph = Graph::from_metadata(&metadata).expect("well-formed");
        assert_eq!(violations(&graph), expected);
    }

    #[test]
    fn allowed_edges_pass() {
        check(
            &[
                ("gateway-json", &[]),
                ("gateway-metadata", &[("gateway-json", None)]),
            ],
            &[],
        );
    }

    #[test]
    fn an_edge_outside_the_table_is_named() {
        check(
            &[
                ("gateway-admin", &[]),
                ("gateway-proxy", &[("gateway-admin", None)]),
            ],
            &["gateway-proxy must not depend on gateway-admin"],
        );
    }

    #[test]
    fn a_pure_crate_that_reaches_a_runtime_is_caught_with_its_way() {
        check(
            &[
                ("gateway-sse", &[("bytes", None)]),
                ("bytes", &[("innocent", Some("build"))]),
                ("innocent", &[("tokio-util", None)]),
                ("tokio-util", &[]),
            ],
            &["pure crate reaches gateway-sse -> bytes -> innocent -> tokio-util"],
        );
    }

    #[test]
    fn what_only_tests_use_is_free() {
        check(
            &[("gateway-sse", &[("rand", Some("dev"))]), ("rand", &[])],
            &[],
        );
    }

    #[test]
    fn a_crate_without_a_place_is_refused() {
        check(
            &[("gateway-new", &[])],
            &["gateway-new: a crate without a place in the table of edges (xtask/src/layers.rs)"],
        );
    }
}
