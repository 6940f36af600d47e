/** The check of the sections that learning keeps: slots of nodes that are there, values that are finite, counts within. */
import { HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import { NETWORK_HEADER_BYTES } from "../../training/network-bytes.js";
import { FIELD } from "../../training/state.js";
import type { Fault } from "../types.js";
import { faultAt, LISTED } from "./faults.js";
import {
  edgeEnds,
  edgesFault,
  gradientFault,
  networkFault,
  networkSize,
  parametersFault,
  type SlotWorld,
  shiftFault,
  usedBy,
} from "./learned-checks.js";
import { LEARNED_SECTIONS } from "./learned-sections.js";
import type { Session } from "./session.js";

export async function checkLearned(session: Session): Promise<Fault[]> {
  const { graph, learned, store } = session;
  const { header, bytes } = learned.state;
  const world: SlotWorld = {
    dimensions: session.dimensions,
    nodes: graph.nodes,
    isLive: (node) => graph.isLive(node),
    clock: header[FIELD.clock],
  };
  const faults: Fault[] = [];
  const found = (section: string) => {
    let count = 0;
    return (at: number, message: string) => {
      if (++count <= LISTED) faults.push(faultAt(session, section, at, message));
      else if (count === LISTED + 1) faults.push(faultAt(session, section, at, "and more of this kind"));
    };
  };
  const read = (section: string, at: number, length: number) =>
    store.region.read(LEARNED_SECTIONS.get(section)!, at, length);

  await unlessDamaged(async () => {
    const fault = parametersFault(read("parameters", 0, bytes.length));
    if (fault !== undefined) found("parameters")(0, fault);
  });
  if (header[FIELD.networkReady] !== 0) {
    await unlessDamaged(async () => {
      const size = networkSize(read("network", 0, NETWORK_HEADER_BYTES), world.dimensions, session.metric);
      const fault =
        typeof size === "string"
          ? size
          : networkFault(read("network", 0, size.bytes), { ...world, metric: session.metric });
      if (fault !== undefined) found("network")(0, `the network ${fault}`);
    });
  }
  const started = header[FIELD.started] !== 0 || header[FIELD.events] !== 0 || header[FIELD.clock] !== 0;
  const slotsOf = (section: string, stride: number) => slotsIn((at, length) => read(section, at, length), stride);
  const strideOf = (section: string) => store.meta.sections.find(({ name }) => name === section)?.stride;

  for (const [section, check] of [
    ["overlay", shiftFault],
    ["edges", edgesFault],
  ] as const) {
    const stride = strideOf(section);
    if (!started || stride === undefined) continue;
    const report = found(section);
    const owners = new Map<number, number>();
    const ends = new Map<number, number>();
    await unlessDamaged(() =>
      inSlices(slotsOf(section, stride), ({ slot, bytes: own }) => {
        const { used, node } = usedBy(own);
        if (used === 0) return;
        const fault = check(own, world);
        if (fault !== undefined) return report(slot * stride, `slot ${slot} ${fault}`);
        if (owners.has(node)) report(slot * stride, `slots ${owners.get(node)} and ${slot} are both of node ${node}`);
        owners.set(node, slot);
        if (section === "edges") for (const end of edgeEnds(own)) ends.set(end, slot);
      }),
    );
    for (const [end, slot] of ends) {
      if (!owners.has(end)) report(slot * stride, `slot ${slot} has an edge to node ${end}, which has no slot`);
    }
  }
  const [stride, valueStride] = [strideOf("gradients"), strideOf("gradient-values")];
  if (stride !== undefined && valueStride !== undefined) {
    const report = found("gradients");
    const lsn = store.log.lastLsn;
    await unlessDamaged(() =>
      inSlices(slotsOf("gradients", stride), ({ slot, bytes: own }) => {
        const { used, node } = usedBy(own);
        if (used === 0 || used > 3 || !graph.isLive(node)) return; // the latter two are told slot by slot elsewhere
        const values = read("gradient-values", slot * valueStride, 12 * world.dimensions);
        const fault = gradientFault(own, values, world, lsn);
        if (fault !== undefined) report(slot * stride, `slot ${slot} ${fault}`);
      }),
    );
  }
  return faults;
}

/** Slots of a section from 1 on; slot 0 says how many there ever were. */
function* slotsIn(
  read: (at: number, length: number) => Uint8Array,
  stride: number,
): Generator<{ slot: number; bytes: Uint8Array }> {
  const [count] = new Uint32Array(read(0, 4).slice().buffer);
  for (let slot = 1; slot <= count; slot++) yield { slot, bytes: read(slot * stride, stride) };
}

/** Blocks without their checksum are named by the check of the files. */
async function unlessDamaged(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof HebbError && error.code === "INDEX_CORRUPT")) throw error;
  }
}
