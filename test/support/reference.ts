/** docs/reference.md, made of the docstrings of what src/index.ts exports, and of the settings' own descriptions. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { describeKey, keyNames } from "../../src/config.js";
import { root } from "./documents.js";

const INTRODUCTION = `# Reference

What \`import { ... } from "hebb"\` gives, from the docstrings of [src/index.ts](../src/index.ts) and what it exports; \`npx vitest run test/spec/38-docs.test.ts -u\` writes this page anew. Words are those of the [glossary](glossary.md). Every error code has a remedy in [Operating a store](operating.md#errors). Unknown options are errors that name the nearest valid one.

[Functions](#functions) · [Index](#index-index) · [Gradients](#gradientaccumulator-indexgradients) · [Thoughts](#thoughts-indexthoughts) · [Symbols](#symbols-indexsymbols) · [Frozen bundles](#frozenindex-frozen) · [Errors](#hebberror-error) · [Types](#types) · [Settings](#settings) · [hebb/tfjs](#hebbtfjs)
`;

/** The handles first, then what they take and give. */
const FUNCTIONS = ["open", "openFrozen", "repair", "readRbpx"];
const CLASSES: Record<string, string> = {
  Index: "index",
  GradientAccumulator: "index.gradients",
  Thoughts: "index.thoughts",
  Symbols: "index.symbols",
  FrozenIndex: "frozen",
  HebbError: "error",
};

type Declaration =
  | ts.FunctionDeclaration
  | ts.ClassDeclaration
  | ts.InterfaceDeclaration
  | ts.TypeAliasDeclaration
  | ts.VariableStatement;

/** What a file exports, by name, in order. */
export function exportsOf(path: string): Map<string, Declaration> {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);
  const found = new Map<string, Declaration>();
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause, moduleSpecifier } = statement;
      if (moduleSpecifier === undefined || !ts.isStringLiteral(moduleSpecifier)) continue;
      const others = exportsOf(join(dirname(path), moduleSpecifier.text.replace(/\.js$/, ".ts")));
      const names =
        exportClause && ts.isNamedExports(exportClause)
          ? exportClause.elements.map(({ name }) => name.text)
          : others.keys();
      for (const name of names) found.set(name, others.get(name)!);
    } else if (isExported(statement)) {
      found.set(nameOf(statement), statement);
    }
  }
  return found;
}

function isExported(statement: ts.Statement): statement is Declaration {
  const isKind =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isVariableStatement(statement);
  return isKind && (statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false);
}

const nameOf = (declaration: Declaration): string =>
  ts.isVariableStatement(declaration)
    ? declaration.declarationList.declarations[0].name.getText()
    : declaration.name!.text;

/** Of a docstring: its text, and its tags by name. */
interface Said {
  text: string;
  tags: { name: string; text: string }[];
}

function saidOf(node: ts.Node): Said {
  const [doc] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).slice(-1);
  if (doc === undefined) return { text: "", tags: [] };
  const tags = (doc.tags ?? []).map((tag) => {
    const about = ts.isJSDocThrowsTag(tag)
      ? tag.typeExpression?.type.getText()
      : ts.isJSDocParameterTag(tag)
        ? `\`${tag.name.getText()}\``
        : undefined;
    const text = plain(ts.getTextOfJSDocComment(tag.comment));
    return { name: tag.tagName.text, text: [about, text].filter(Boolean).join(about === undefined ? "" : ": ") };
  });
  return { text: plain(ts.getTextOfJSDocComment(doc.comment)), tags };
}

/** Paragraphs on a line each, and paths of documents as links. */
const plain = (text = ""): string =>
  text
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, " ").trim())
    .join("\n\n")
    .replaceAll(/\{(HebbError|(?:Type|Range)Error)\}/g, "$1")
    .replaceAll(/\bdocs\/([\w/-]+\.md)/g, "[$1]($1)");

const code = (node: ts.Node): string =>
  node
    .getText()
    .replaceAll(/\/\*\*.*?\*\/|\/\/[^\n]*/gs, "")
    .replaceAll(/\s+/g, " ")
    .trim()
    .replace(/^\| /, "");
const cell = (text: string): string => text.replaceAll("\n\n", " ").replaceAll("|", "\\|");

function paragraphs({ text, tags }: Said): string {
  const words: Record<string, string> = { param: "", returns: "Returns: ", throws: "Throws " };
  const lines = tags.filter(({ name }) => name in words).map(({ name, text }) => `- ${words[name]}${text}`);
  return [text, lines.join("\n")].filter((part) => part !== "").join("\n\n");
}

const isHidden = (member: ts.ClassElement): boolean =>
  ts.isConstructorDeclaration(member) ||
  (member.name !== undefined && ts.isPrivateIdentifier(member.name)) ||
  ts.getCombinedModifierFlags(member as ts.Declaration) === ts.ModifierFlags.Private;

const parametersOf = (parameters: ts.NodeArray<ts.ParameterDeclaration>): string =>
  parameters
    .map(({ name, questionToken, initializer }) => `${name.getText()}${questionToken || initializer ? "?" : ""}`)
    .join(", ");

function signature(declaration: ts.FunctionDeclaration | ts.MethodDeclaration | ts.MethodSignature): string {
  const parameters = declaration.parameters.map(code).join(", ");
  return `(${parameters}): ${declaration.type ? code(declaration.type) : "void"}`;
}

function functionText(name: string, declaration: Declaration): string {
  if (!ts.isFunctionDeclaration(declaration)) return "";
  const heading = `### ${name}(${parametersOf(declaration.parameters)})`;
  return [heading, `\`${name}${signature(declaration)}\``, paragraphs(saidOf(declaration))].join("\n\n");
}

function classText(name: string, declaration: Declaration): string {
  if (!ts.isClassDeclaration(declaration)) return "";
  const handle = CLASSES[name];
  const members = declaration.members
    .filter((member) => !isHidden(member))
    .map((member) => {
      const called = member.name!.getText();
      const to = called.startsWith("[") ? `${handle}${called}` : `${handle}.${called}`;
      if (!ts.isMethodDeclaration(member)) {
        const { type } = member as ts.GetAccessorDeclaration | ts.PropertyDeclaration;
        return [`### ${to}`, type && `\`${code(type)}\``, paragraphs(saidOf(member))].filter(Boolean).join("\n\n");
      }
      const generator = member.asteriskToken ? "*" : "";
      return [
        `### ${to}(${parametersOf(member.parameters)})`,
        `\`${generator}${called}${signature(member)}\``,
        paragraphs(saidOf(member)),
      ].join("\n\n");
    });
  return [`## ${name}: \`${handle}\``, paragraphs(saidOf(declaration)), ...members]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** Members in a table; those of objects within them below their own. */
function rowsOf(members: ts.NodeArray<ts.TypeElement>, within = ""): string[] {
  return members.flatMap((member) => {
    if (ts.isMethodSignature(member)) {
      const { text } = saidOf(member);
      return [`| \`${member.name.getText()}()\` | \`${cell(signature(member))}\` | ${cell(text)} |`];
    }
    if (!ts.isPropertySignature(member)) return [];
    const name = `${within}${member.name.getText()}`;
    const inner =
      member.type && ts.isTypeLiteralNode(member.type) && member.type.members.every(ts.isPropertySignature)
        ? member.type.members
        : undefined;
    const { text } = saidOf(member);
    const type = inner ? "object" : member.type ? code(member.type) : "";
    const row = `| \`${name}\`${member.questionToken ? "?" : ""} | \`${cell(type)}\` | ${cell(text)} |`;
    return [row, ...(inner ? rowsOf(inner, `${name}.`) : [])];
  });
}

function typeText(name: string, declaration: Declaration): string {
  const said = paragraphs(saidOf(declaration));
  if (ts.isInterfaceDeclaration(declaration)) {
    const from = declaration.heritageClauses?.flatMap(({ types }) => types.map(code)).join(", ");
    const rows = rowsOf(declaration.members);
    const heading = ["| name | type | meaning |", "| --- | --- | --- |", ...rows].join("\n");
    return [`### ${name}`, said, from && `With all of \`${from}\`.`, rows.length > 0 && heading]
      .filter(Boolean)
      .join("\n\n");
  }
  if (ts.isTypeAliasDeclaration(declaration)) {
    const meaning = said || listDoc(declaration);
    // Made of the settings' own descriptions, as a type that says nothing to a reader.
    const type = name === "ConfigInput" ? "See [Settings](#settings)." : `\`${typeOf(declaration)}\``;
    return [`### ${name}`, meaning, type].filter(Boolean).join("\n\n");
  }
  if (ts.isVariableStatement(declaration)) {
    const { initializer } = declaration.declarationList.declarations[0];
    return [`### ${name}`, said, initializer && `\`${code(initializer)}\``].filter(Boolean).join("\n\n");
  }
  return "";
}

const listOf = ({ type }: ts.TypeAliasDeclaration): string | undefined =>
  /^\(typeof (\w+)\)\[number\]$/.exec(code(type))?.[1];

/** What is said of the VALUES of such a type, where nothing is said of the type. */
function listDoc(declaration: ts.TypeAliasDeclaration): string {
  const list = listOf(declaration);
  const statement = declaration
    .getSourceFile()
    .statements.find((other) => ts.isVariableStatement(other) && nameOf(other) === list);
  return statement ? paragraphs(saidOf(statement)) : "";
}

/** Of `(typeof VALUES)[number]` the values, which stand in the same file. */
function typeOf(declaration: ts.TypeAliasDeclaration): string {
  const { type } = declaration;
  const list = listOf(declaration);
  const values = list && new RegExp(`\\b${list} = \\[(.*?)\\]`, "s").exec(type.getSourceFile().text)?.[1];
  return values ? values.split(/,\s*/).filter(Boolean).join(" | ") : code(type);
}

function settingsText(): string {
  const rows = keyNames().map((name) => {
    const { default: value, expects, built } = describeKey(name);
    return `| \`${name}\` | ${value === undefined ? "" : `\`${value}\``} | ${expects}${built ? "" : " (not built yet)"} |`;
  });
  return [
    "## Settings",
    "Keys of `config` in [OpenOptions](#openoptions); [config.toml](../config.toml) says what each does.",
    ["| key | default | range |", "| --- | --- | --- |", ...rows].join("\n"),
  ].join("\n\n");
}

export function referenceText(): string {
  const all = exportsOf(join(root, "src", "index.ts"));
  const types = [...all].filter(([name]) => !FUNCTIONS.includes(name) && !(name in CLASSES));
  const tensors = exportsOf(join(root, "src", "tfjs", "index.ts"));
  return [
    INTRODUCTION.trim(),
    "## Functions",
    ...FUNCTIONS.map((name) => functionText(name, all.get(name)!)),
    ...Object.keys(CLASSES).map((name) => classText(name, all.get(name)!)),
    "## Types",
    ...types.map(([name, declaration]) => typeText(name, declaration)),
    settingsText(),
    "## hebb/tfjs",
    ...[...tensors].map(([name, declaration]) => functionText(name, declaration) || typeText(name, declaration)),
  ]
    .filter((part) => part !== "")
    .join("\n\n")
    .concat("\n");
}
