/** The demo's texts: the READMEs and descriptions of the packages that npm put on this machine. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { titleOf } from "./read-folder.js";

/** A package with a README and a one-line description, neither shared with another package. */
export interface PackageText {
  name: string;
  /** Of the README, relative to its node_modules. */
  path: string;
  title: string;
  readme: string;
  description: string;
  keywords: string[];
}

/** The nearest folder called node_modules with packages in it, in `from` or above; undefined where there is none. */
export function findNodeModules(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules");
    if (existsSync(candidate) && readdirSync(candidate).length > 0) return candidate;
    if (dirname(folder) === folder) return undefined;
  }
}

/**
 * Packages below a node_modules, nested ones too, sorted by name; of equal READMEs or descriptions the first counts.
 */
export function readPackages(nodeModules: string): PackageText[] {
  const found: PackageText[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
      if (entry.name.startsWith("@")) {
        walk(path);
        continue;
      }
      const text = readPackage(path, nodeModules);
      if (text !== undefined) found.push(text);
      if (existsSync(join(path, "node_modules"))) walk(join(path, "node_modules"));
    }
  };
  walk(nodeModules);
  found.sort((a, b) => (a.path < b.path ? -1 : 1));
  const readmes = new Set<string>();
  const descriptions = new Set<string>();
  return found.filter(({ readme, description }) => {
    const fresh = !readmes.has(readme) && !descriptions.has(description);
    readmes.add(readme);
    descriptions.add(description);
    return fresh;
  });
}

function readPackage(folder: string, nodeModules: string): PackageText | undefined {
  const manifest = join(folder, "package.json");
  const file = readdirSync(folder).find((name) => /^readme(\.(md|markdown|txt))?$/i.test(name));
  if (file === undefined || !existsSync(manifest)) return undefined;
  let fields: { name?: unknown; description?: unknown; keywords?: unknown };
  try {
    fields = JSON.parse(readFileSync(manifest, "utf8")) as typeof fields;
  } catch {
    return undefined; // test fixtures of some packages are broken on purpose
  }
  const { name, description, keywords } = fields;
  const readme = readFileSync(join(folder, file), "utf8");
  const path = relative(nodeModules, join(folder, file));
  if (typeof name !== "string" || typeof description !== "string") return undefined;
  if (!/\p{L}/u.test(description) || !/\p{L}/u.test(readme)) return undefined;
  return {
    name,
    path,
    title: titleOf(readme, path),
    readme,
    description,
    keywords: Array.isArray(keywords) ? keywords.filter((word) => typeof word === "string") : [],
  };
}
