/** What a store tells of its rows and of itself: `inspect`, `survey`, and the commands stats, inspect and report. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphHealth, spreadOf } from "../../src/cli/graph-health.js";
import { groupsBy } from "../../src/cli/report/groups.js";
import { flatMap } from "../../src/cli/report/map.js";
import { SCRIPT, STYLE } from "../../src/cli/report/page-style.js";
import { plain } from "../../src/cli/report/text.js";
import { bar, canvasOf, coloured, sparkline } from "../../src/cli/terminal.js";
import { inspectRow } from "../../src/engine/inspecting.js";
import { openSession } from "../../src/engine/opening.js";
import { Querier } from "../../src/engine/querying.js";
import { type Id, type Index, open } from "../../src/index.js";
import { ARMS, ATTENTION, learnersOf } from "../../training/arms.js";
import { SERVING_FIELD } from "../../training/state.js";
import { hebb } from "../support/cli.js";
import { garble } from "../support/damage.js";
import { distanceOf, errorOf, memoryScratch, randomRows, rowOf } from "../support/rows.js";

const scratch = memoryScratch();
const D = 8;
const ROWS = 240;
const GROUPS = 6;
const HOSTILE = `</script><img src=x onerror="alert(1)">'&`;
const CENTRES = randomRows(GROUPS, D, 1);
const NOISE = randomRows(ROWS, D, 2);

const near = (group: number, i: number, noise: number): number[] =>
  Array.from(rowOf(CENTRES, group, D), (x, j) => x + noise * rowOf(NOISE, i % ROWS, D)[j]);
const idOf = (i: number): Id => (i === 7 ? HOSTILE : i === 8 ? 8 : `row-${i}`);
const rowsOf = () =>
  Array.from({ length: ROWS }, (_, i) => ({
    id: idOf(i),
    vector: near(i % GROUPS, i, 0.5),
    payload: { group: `g${i % GROUPS}`, price: i, text: `${HOSTILE} ${i}\u202e\u0007` },
  }));

const store = scratch("learned.hebb");
let index: Index;
beforeAll(async () => {
  const made = await open(store, { dimensions: D, metric: "cosine", durability: "off" });
  await made.putMany(rowsOf());
  await made.settle();
  const events = Array.from({ length: 90 }, (_, i) => ({
    query: near(i % 3, i + 100, 0.4),
    chosen: [`row-${(i % 3) + GROUPS * (3 + (i % 2))}`],
  }));
  await made.learn(events);
  await made.train();
  await made.close();
  index = await open(store, { readOnly: true });
});
afterAll(() => index.close());

describe("inspect", () => {
  it("tells what get tells, and where the row stands in the graph", async () => {
    const seen = await index.inspect("row-20");
    expect(seen).toMatchObject({ ...index.get("row-20"), linked: true });
    const { neighbours, inDegree, heat, vector } = seen!;
    expect(heat).toBeGreaterThanOrEqual(0);
    expect(inDegree).toBeGreaterThan(0);
    expect(neighbours.length).toBeGreaterThan(0);
    for (const { id, distance, weight, inGraph, strength } of neighbours) {
      expect(distance).toBeCloseTo(distanceOf("cosine", vector, index.get(id)!.vector), 4);
      expect(weight > 0 && weight < 1).toBe(true);
      expect(inGraph || strength > 0).toBe(true);
    }
    const distances = neighbours.map(({ distance }) => distance);
    expect(distances).toEqual([...distances].sort((a, b) => a - b));
    expect(neighbours.filter(({ inGraph }) => inGraph)).toHaveLength(
      index.survey(ROWS).find(({ id }) => id === "row-20")!.outDegree,
    );
    expect(await index.inspect("nobody")).toBeUndefined();
  });

  it("explains ranks: static score and what learners add are the neural score, and ranks are those of queries", async () => {
    expect(index.stats().learning.serving).not.toBe("static");
    let moved = 0;
    for (let i = 0; i < 6; i++) {
      const vector = near(i, 200 + i, 0.4);
      const [plain, neural] = await Promise.all(
        (["vector", "neural"] as const).map(async (mode) => (await index.query({ vector, mode, k: 20 })).hits),
      );
      for (const { id } of [plain[0], plain[5], neural[0], neural[3]]) {
        const { explanation } = (await index.inspect(id, { explain: { vector }, k: 20 }))!;
        const [own, turned] = [plain.findIndex((hit) => hit.id === id), neural.findIndex((hit) => hit.id === id)];
        expect(explanation!.static.rank).toBe(own < 0 ? undefined : own + 1);
        expect(explanation!.neural.rank).toBe(turned < 0 ? undefined : turned + 1);
        if (own >= 0) expect(explanation!.static.score).toBeCloseTo(plain[own].score, 5);
        if (turned >= 0) expect(explanation!.neural.score).toBeCloseTo(neural[turned].score, 5);
        const sum = explanation!.parts.reduce((total, { adds }) => total + adds, explanation!.static.score);
        expect(sum).toBeCloseTo(explanation!.neural.score, 5);
        expect(explanation!.parts.map(({ learner }) => learner)).toEqual(explanation!.serving);
        if (explanation!.parts.some(({ adds }) => Math.abs(adds) > 0.01)) moved++;
      }
    }
    expect(moved).toBeGreaterThan(0);
  });

  it("so it is whatever serves", async () => {
    const session = await openSession(store, { readOnly: true });
    const querier = new Querier(session);
    const { header } = session.learned.state;
    const served = header[SERVING_FIELD];
    for (let arm = 0; arm < ARMS; arm++) {
      if (arm & ATTENTION) continue; // no network is trained on so few events
      header[SERVING_FIELD] = arm; // in this handle's memory alone, which never writes
      const vector = near(arm % GROUPS, arm, 0.4);
      const { hits } = await querier.query({ vector, mode: "neural", k: 12 });
      for (const at of [0, 11]) {
        const { explanation } = (await inspectRow(session, querier, hits[at].id, { explain: { vector }, k: 12 }))!;
        const sum = explanation!.parts.reduce((total, { adds }) => total + adds, explanation!.static.score);
        expect(explanation!.neural.rank).toBe(at + 1);
        expect(Math.abs(sum - hits[at].score)).toBeLessThan(1e-5);
        expect(explanation!.parts).toHaveLength(learnersOf(arm).length);
      }
    }
    header[SERVING_FIELD] = served;
    await session.close();
  });

  it("a row has no rank for a query that is made of it, and learned edges say whence they lead", async () => {
    const { explanation } = (await index.inspect("row-18", { explain: { positive: ["row-18", "row-24"] } }))!;
    expect(explanation).toMatchObject({ static: { rank: undefined }, neural: { rank: undefined }, k: 100 });
    const chosen = (await index.inspect("row-18", { explain: { vector: near(0, 3, 0.3) } }))!.explanation!;
    for (const { from, strength } of chosen.edges) {
      const back = (await index.inspect(from))!.neighbours.find(({ id }) => id === "row-18");
      expect(back?.strength).toBeCloseTo(strength, 9);
    }
    expect(chosen.edges.length).toBeGreaterThan(0);
  });

  it("where nothing learned serves, both are the same", async () => {
    const fresh = await open(scratch("fresh.hebb"), { dimensions: 2, metric: "l2", durability: "off" });
    await fresh.putMany([1, 2, 3].map((id) => ({ id, vector: [id, 0] })));
    await fresh.settle();
    const { explanation, shift, linked: now } = (await fresh.inspect(2, { explain: { vector: [3, 0] } }))!;
    expect({ now, shift }).toEqual({ now: true, shift: undefined });
    expect(explanation).toEqual({
      serving: "static",
      k: 100,
      static: { rank: 2, score: -1, distance: 1 },
      neural: { rank: 2, score: -1 },
      parts: [],
      edges: [],
    });
    await fresh.close();
    expect(await errorOf(() => fresh.inspect(1))).toMatchObject({ code: "INDEX_CLOSED" });
  });

  it("refuses bad input, and names it", async () => {
    const of = async (...args: unknown[]) =>
      errorOf(() => (index.inspect as (...a: unknown[]) => unknown).apply(index, args));
    expect(await of(1.5)).toBeInstanceOf(TypeError);
    expect(await of("row-1", { explian: {} })).toMatchObject({
      message: expect.stringContaining('did you mean "explain"'),
    });
    expect(await of("row-1", { k: 5 })).toBeInstanceOf(TypeError);
    expect(await of("row-1", { explain: {}, k: 0 })).toBeInstanceOf(RangeError);
    expect(await of("row-1", { explain: {} })).toMatchObject({
      message: expect.stringContaining("expected exactly one"),
    });
    expect(await of("row-1", { explain: null })).toBeInstanceOf(TypeError);
    expect(await of("row-1", { explain: { vector: [1, 2] } })).toMatchObject({
      message: expect.stringMatching(/2.*8/),
    });
    expect(await of("row-1", { explain: { id: "nobody" } })).toMatchObject({ code: "UNKNOWN_ID" });
    expect(await of("row-1", { explain: { text: "words" } })).toMatchObject({ code: "NO_ENCODER" });
    for (const count of [0, 1.5, Number.NaN, "7"]) expect(() => index.survey(count as number)).toThrow(RangeError);
  });
});

describe("survey", () => {
  it("has as many different rows as were asked for, all where there are no more, the same ones each time", () => {
    const all = index.survey(10_000);
    expect(new Set(all.map(({ id }) => id)).size).toBe(ROWS);
    for (const count of [1, 5, 100]) {
      const some = index.survey(count);
      expect(new Set(some.map(({ id }) => id)).size).toBe(count);
      expect(index.survey(count)).toEqual(some);
      expect(all).toEqual(expect.arrayContaining(some));
    }
    const sum = (of: "inDegree" | "outDegree") => all.reduce((total, row) => total + row[of], 0);
    expect(sum("inDegree")).toBe(sum("outDegree"));
  });

  it.each(["l2", "dot", "cosine"] as const)(
    "no row is missed for equal or, under dot, longer ones: %s",
    async (metric) => {
      const twins = await open(scratch(`twins-${metric}.hebb`), { dimensions: 2, metric, durability: "off" });
      await twins.putMany(Array.from({ length: 90 }, (_, id) => ({ id, vector: [1 + (id % 3), 1 + 2 * (id % 2)] })));
      await twins.settle();
      expect((await graphHealth(twins))!.reached).toEqual({ sought: 90, found: 90 });
      await twins.close();
    },
  );

  it("a survey finds what is left where nearly all was deleted", async () => {
    const left = await open(scratch("left.hebb"), { dimensions: 2, metric: "l2", durability: "off" });
    await left.putMany(Array.from({ length: 3000 }, (_, id) => ({ id, vector: [id, id % 7] })));
    await left.settle();
    await left.delete(Array.from({ length: 2960 }, (_, id) => id + 20));
    await left.settle();
    const all = left.survey(1000).map(({ id }) => id);
    expect(all).toHaveLength(40);
    for (const count of [1, 10, 40]) expect(left.survey(count)).toHaveLength(count);
    expect((await graphHealth(left, 4))!.reached).toEqual({ sought: 40, found: 40 });
    await left.close();
  });

  it("health adds up", async () => {
    const health = (await graphHealth(index))!;
    expect(health).toMatchObject({ surveyed: ROWS, reached: { sought: 200, found: 200 } });
    for (const { bins } of [health.inDegree, health.outDegree]) {
      expect(bins.reduce((sum, { count }) => sum + count, 0)).toBe(ROWS);
    }
    expect(health.levels.reduce((a, b) => a + b)).toBe(ROWS);
    expect(spreadOf([3, 3, 9, 5], 4)).toEqual({
      least: 3,
      median: 5,
      mean: 5,
      most: 9,
      bins: [
        { from: 3, to: 4, count: 2 },
        { from: 5, to: 6, count: 1 },
        { from: 7, to: 8, count: 0 },
        { from: 9, to: 9, count: 1 },
      ],
    });
  });
});

describe("on a terminal", () => {
  const stream = (isTTY: boolean, columns?: number) => ({ isTTY, ...(columns && { columns }) });

  it("width follows it, 80 elsewhere; colours only there, and not with NO_COLOR", () => {
    expect(canvasOf(stream(false), {})).toEqual({ columns: 80, colours: false });
    expect(canvasOf(stream(true, 120), {})).toEqual({ columns: 120, colours: true });
    expect(canvasOf(stream(true, 9), { NO_COLOR: "1" })).toEqual({ columns: 40, colours: false });
    expect(canvasOf(stream(true, 99), { NO_COLOR: "" }).colours).toBe(true);
    expect(coloured({ columns: 80, colours: true }, "red", "x")).toBe("\x1b[31mx\x1b[39m");
    expect(coloured({ columns: 80, colours: false }, "red", "x")).toBe("x");
  });

  it("bars and sparklines", () => {
    expect([bar(0, 4), bar(1e-9, 4), bar(0.5, 4), bar(1, 4), bar(7, 4)]).toEqual(["", "▏", "██", "████", "████"]);
    expect([sparkline([]), sparkline([0, 0]), sparkline([0, 0.5, 1]), sparkline([-1, 0, 1])]).toEqual([
      "",
      "▁▁",
      "▁▅█",
      "▁▅█",
    ]);
  });

  it("hebb stats draws tiers, graph and curve within 80 characters; --json has all that stats() has, and the health", async () => {
    const { code, out, err } = await hebb("stats", store);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/\nhot +240 .*█{4}/);
    expect(out).toMatch(/reached +200 of 200 rows were found by their own vectors\n/);
    expect(out).toMatch(/edges that lead to a row: \d+ to \d+, median \d+/);
    expect(out).toMatch(/nDCG@10 gained/);
    expect(out).not.toContain("\x1b");
    for (const line of out.split("\n").filter((line) => line.includes("█")))
      expect(line.length).toBeLessThanOrEqual(80);
    const json = JSON.parse((await hebb("stats", store, "--json")).out);
    expect(Object.keys(json)).toEqual([...Object.keys(index.stats()).filter((name) => name !== "encoder"), "health"]);
    expect(json.health).toEqual(JSON.parse(JSON.stringify(await graphHealth(index))));
  });

  it("a store whose graph is damaged still has its stats, with a warning; an empty one has no health", async () => {
    const damaged = scratch("damaged.hebb");
    const made = await open(damaged, { dimensions: 2, metric: "l2", durability: "off" });
    await made.putMany(Array.from({ length: 40 }, (_, id) => ({ id, vector: [id, 1] })));
    await made.close();
    garble(damaged, "rows", 0);
    const { code, out, err } = await hebb("stats", damaged);
    expect({ code, err }).toEqual({
      code: 0,
      err: expect.stringMatching(/^hebb: warning: the graph cannot be looked at: INDEX_CORRUPT: .*\n$/),
    });
    expect(out).toMatch(/^Store\nrows +40\n/);
    expect(await hebb("report", damaged, scratch("damaged.html"))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^hebb: INDEX_CORRUPT: /),
    });
    const empty = scratch("empty.hebb");
    await (await open(empty, { dimensions: 2, metric: "l2" })).close();
    expect(JSON.parse((await hebb("stats", empty, "--json")).out).health).toBeNull();
    expect((await hebb("stats", empty)).code).toBe(0);
    expect(await hebb("report", empty, scratch("empty.html"))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^hebb: BAD_ARGUMENT: .*empty.hebb is empty/),
    });
  });
});

describe("hebb inspect", () => {
  it("shows a row and explains it; --json is what inspect returns", async () => {
    const query = JSON.stringify(near(0, 3, 0.3));
    const { code, out, err } = await hebb("inspect", store, "row-18", "--explain", query);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/^id +"row-18"\ntier +hot, heat /);
    expect(out).toMatch(/\nPayload\n {2}group: "g0"\n/);
    expect(out).toMatch(/\ndistance +weight +bias +strength +edge +id\n/);
    expect(out).toMatch(/\nstatic +-?\d\.\d{4} +\d+ .*\n(\+ \w+ .*\n)+neural +-?\d\.\d{4} +\d+\n/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach a terminal
    expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    const json = JSON.parse((await hebb("inspect", store, "row-18", "--explain", query, "--json")).out);
    const seen = await index.inspect("row-18", { explain: { vector: JSON.parse(query) } });
    expect(json.explanation).toEqual(JSON.parse(JSON.stringify(seen!.explanation)));
    expect(json.vector).toEqual(Array.from(seen!.vector));
    expect((await hebb("inspect", store, "8")).out).toMatch(/^id +8\n/);
    expect((await hebb("inspect", store, HOSTILE)).code).toBe(0);
  });

  it("takes words where the store takes texts", async () => {
    const texts = scratch("texts.hebb");
    const made = await open(texts, { dimensions: 16, metric: "cosine", encoder: "hashed-tfidf", durability: "off" });
    await made.putMany(
      ["a red apple", "a green pear", "a blue sky"].map((text, id) => ({ id, text, payload: { text } })),
    );
    await made.close();
    expect((await hebb("inspect", texts, "1", "-x", "green pear")).out).toMatch(/\nstatic +\d\.\d+ +1 /);
  });

  it.each([
    [["nobody"], /UNKNOWN_ID: id "nobody" is not in .*learned\.hebb/],
    [["99"], /UNKNOWN_ID: id 99 is not in .*; for the string, write '"99"'/],
    [["row-1", "--explain", "[1,2]"], /BAD_ARGUMENT: .*2.*8/],
    [["row-1", "--explain", "[1,"], /NO_ENCODER/],
    [["row-1", "--explain", "[1,x]"], /USAGE: .*not JSON/],
    [["row-1", "--explain", " "], /USAGE: .*expected words/],
    [["row-1", "--explain", "words"], /NO_ENCODER: .* was made for vectors/],
    [["row-1", "-k", "3"], /BAD_ARGUMENT: k without explain/],
    [[], /USAGE: missing required argument 'id'/],
  ])("%j is refused", async (args, message) => {
    expect(await hebb("inspect", store, ...args)).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringMatching(message),
    });
  });
});

/** A hash of all that a store's files hold; what SQLite's readers agree with each other by is none of it. */
function contents(directory: string): string {
  const sum = createHash("sha256");
  for (const name of (readdirSync(directory, { recursive: true }) as string[]).sort()) {
    const path = join(directory, name);
    if (name === "catalog.sqlite-shm" || name === "catalog.sqlite-wal") continue;
    try {
      sum.update(name).update(readFileSync(path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EISDIR") throw error;
    }
  }
  return sum.digest("hex");
}

describe("hebb report", () => {
  const out = scratch("report.html");
  const written = () => readFileSync(out, "utf8");

  it("writes a page that asks for nothing and runs nothing but its own, whatever ids and payloads hold", async () => {
    const { code, out: said, err } = await hebb("report", store, out, "--queries", "20", "--color", "group");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(said).toMatch(/report\.html: a report of .*learned\.hebb, [\d.]+ KiB \(/);
    const html = written();
    const sha = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    expect(html).toContain(
      `content="default-src 'none'; style-src ${sha(STYLE)}; script-src ${sha(SCRIPT)}; base-uri 'none'; form-action 'none'"`,
    );
    // In the text of others no character begins a tag, so these are all there are.
    const tags = html
      .replace(SCRIPT, "")
      .replace(STYLE, "")
      .match(/<[^>]*>/g)!;
    expect(tags.filter((tag) => /^<\/?(script|img|link|iframe|a|object|base|form)\b/.test(tag))).toEqual([
      "<script>",
      "</script>",
    ]);
    expect(tags.filter((tag) => /\s(src|href|style|srcset|on\w+)=/.test(tag.replaceAll(/"[^"]*"/g, '""')))).toEqual([]);
    expect(STYLE + SCRIPT).not.toMatch(/url\(|@import|https?:|fetch|innerHTML/);
    expect(html.includes("\u202e") || html.includes("\u0007")).toBe(false);
    expect(html).toContain("&#60;/script&#62;&#60;img src=x onerror=");
    expect(html).toContain("recall@10 against exact search");
    expect(html).toContain("20 queries");
    expect(html.match(/<circle class="s\d"/g)!.length).toBeGreaterThanOrEqual(ROWS);
    expect(html.match(/role="img" aria-label="[^"]{10,}"/g)).toHaveLength(8);
  });

  it("writes nothing to the store, and a writer beside it goes on", async () => {
    const busy = scratch("busy.hebb");
    const writer = await open(busy, { dimensions: D, metric: "cosine", durability: "off" });
    await writer.putMany(rowsOf());
    await writer.settle();
    await writer.checkpoint();
    const { code } = await hebb("report", busy, out, "--queries", "5");
    expect(code).toBe(0);
    await writer.put("later", near(0, 1, 0.1));
    await writer.close(); // which leaves nothing in SQLite's log
    const before = contents(busy);
    for (const command of [
      ["report", busy, out, "-q", "5"],
      ["stats", busy],
      ["inspect", busy, "later"],
    ]) {
      expect((await hebb(...command)).code).toBe(0);
    }
    expect(contents(busy)).toBe(before);
    expect(readFileSync(join(busy, "catalog.sqlite-wal")).length).toBe(0);
    expect(written()).toContain(">241<");
  });

  it("replaces a former report and an empty file, another file with --force alone, and nothing else ever", async () => {
    const report = (path: string, ...more: string[]) => hebb("report", store, path, "-q", "5", "-p", "10", ...more);
    const [page, other, link, folder] = ["page.html", "notes.md", "link.html", "folder"].map(scratch) as [
      string,
      string,
      string,
      string,
    ];
    writeFileSync(page, "");
    expect((await report(page)).code).toBe(0);
    expect((await report(page)).code).toBe(0);
    writeFileSync(other, "# mine\n");
    expect(await report(other)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^hebb: FILE_EXISTS: .*notes\.md is there.*--force\n$/),
    });
    expect(readFileSync(other, "utf8")).toBe("# mine\n");
    expect((await report(other, "--force")).code).toBe(0);
    expect(readFileSync(other, "utf8")).toContain("hebb report");
    symlinkSync(page, link);
    mkdirSync(folder);
    expect((await report(link, "--force")).err).toMatch(/FILE_EXISTS: .* is a symbolic link/);
    expect((await report(folder, "--force")).err).toMatch(/FILE_EXISTS: .* is a directory/);
    expect((await report("/dev/null", "--force")).err).toMatch(/FILE_EXISTS: .* is no regular file/);
    expect((await report(join(store, "index.hebb"), "--force")).err).toMatch(/BAD_ARGUMENT: .* is in the store/);
    expect((await report(join(store, "page.html"))).err).toMatch(/BAD_ARGUMENT: .* is in the store/);
    expect((await report(join(folder, "no", "page.html"))).err).toMatch(
      /IO_ERROR: .*page\.html cannot be written: .*no/,
    );
    expect((await report(join(other, "page.html"))).err).toMatch(/IO_ERROR: .* it is no directory/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it.each([
    [["--queries", "0"], /USAGE: .*at least 1/],
    [["-k", "x"], /USAGE: .*integer/],
    [["--points", "-1"], /USAGE: .*at least 1/],
    [["--queries", "1000001"], /USAGE: .*--queries.*at most 1000000/],
  ])("%j is refused", async (args, message) => {
    expect((await hebb("report", store, scratch("never.html"), ...args)).err).toMatch(message);
  });
  it("a store that is not there is named", async () => {
    expect((await hebb("report", scratch("nowhere"), scratch("never.html"))).err).toMatch(/STORE_NOT_FOUND/);
  });

  it("the map's axes are those of most variance, in order", () => {
    const line = Array.from({ length: 50 }, (_, i) => Float32Array.of(i - 25, 2 * (i - 25), (i % 2) - 0.5, 1e3));
    const { points, shares } = flatMap(line, false);
    expect(shares[0] + shares[1]).toBeCloseTo(1, 6);
    expect(shares[0]).toBeGreaterThan(shares[1]);
    points.forEach(({ x }, i) => {
      expect(x).toBeCloseTo((i - 24.5) * Math.sqrt(5), 1);
    });
    const same = flatMap([Float32Array.of(1, 2), Float32Array.of(2, 4)], true); // one direction
    expect(same.points.map(({ x, y }) => Math.hypot(x, y) < 1e-6)).toEqual([true, true]);
    expect(same.shares.every((share) => share >= 0 && share <= 1)).toBe(true);
    expect(flatMap([Float32Array.of(3e30, 1)], true).points).toEqual([{ x: 0, y: 0 }]);
  });

  it("groups are the commonest values, or ranges of numbers", () => {
    const payloads = Array.from({ length: 40 }, (_, i) => ({
      deep: { kind: `k${i % 10 < 3 ? i % 10 : 0}` },
      price: i,
    }));
    expect(groupsBy("deep.kind", payloads)).toMatchObject({ names: ["k0", "k1", "k2"] });
    const prices = groupsBy("price", payloads);
    expect(prices.names).toEqual(["0 to below 8", "8 to below 16", "16 to below 24", "24 to below 32", "32 to 39"]);
    expect(prices.of).toEqual(payloads.map(({ price }) => Math.floor(price / 8)));
    const many = groupsBy(
      "id",
      payloads.map((_, i) => ({ id: `i${i}` })),
    );
    expect(many.names).toHaveLength(6);
    expect(many.names.at(-1)).toBe("35 other values");
    expect(groupsBy("nothing", [undefined, { a: 1 }])).toEqual({ names: ["without it"], of: [0, 0] });
    expect(groupsBy("toString", [{}]).names).toEqual(["without it"]);
    expect(plain("a\u202eb\ud800\u0085")).toBe("a\ufffdb\ufffd\ufffd");
  });
});
