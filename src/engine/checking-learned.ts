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
  const { header } = session.learned.state;
  const check = new LearnedCheck(session);
  await check.parameters();
  if (header[FIELD.networkReady] !== 0) await check.network();
  if (header[FIELD.started] !== 0 || header[FIELD.events] !== 0 || header[FIELD.clock] !== 0) {
    await check.slots("overlay", shiftFault);
    await check.slots("edges", edgesFault);
  }
  await check.gradients();
  return check.faults;
}

class LearnedCheck {
  readonly faults: Fault[] = [];
  private readonly world: SlotWorld;

  constructor(private readonly session: Session) {
    const { graph, learned, dimensions } = session;
    const clock = learned.state.header[FIELD.clock];
    this.world = { dimensions, nodes: graph.nodes, isLive: (node) => graph.isLive(node), clock };
  }

  async parameters(): Promise<void> {
    await unlessDamaged(async () => {
      const fault = parametersFault(this.read("parameters", 0, this.session.learned.state.bytes.length));
      if (fault !== undefined) this.reporter("parameters")(0, fault);
    });
  }

  async network(): Promise<void> {
    await unlessDamaged(async () => {
      const { world } = this;
      const { metric } = this.session;
      const size = networkSize(this.read("network", 0, NETWORK_HEADER_BYTES), world.dimensions, metric);
      const fault =
        typeof size === "string" ? size : networkFault(this.read("network", 0, size.bytes), { ...world, metric });
      if (fault !== undefined) this.reporter("network")(0, `the network ${fault}`);
    });
  }

  /** Section `overlay` or `edges`: each slot for itself, one of a node at most, and each edge to a node with a slot. */
  async slots(section: "overlay" | "edges", faultOf: typeof shiftFault): Promise<void> {
    const stride = this.strideOf(section);
    if (stride === undefined) return;
    const report = this.reporter(section);
    const owners = new Map<number, number>();
    const ends = new Map<number, number>();
    await unlessDamaged(() =>
      inSlices(this.slotsOf(section, stride), ({ slot, bytes }) => {
        const { used, node } = usedBy(bytes);
        if (used === 0) return;
        const fault = faultOf(bytes, this.world);
        if (fault !== undefined) return report(slot * stride, `slot ${slot} ${fault}`);
        if (owners.has(node)) report(slot * stride, `slots ${owners.get(node)} and ${slot} are both of node ${node}`);
        owners.set(node, slot);
        if (section === "edges") for (const end of edgeEnds(bytes)) ends.set(end, slot);
      }),
    );
    for (const [end, slot] of ends) {
      if (!owners.has(end)) report(slot * stride, `slot ${slot} has an edge to node ${end}, which has no slot`);
    }
  }

  async gradients(): Promise<void> {
    const [stride, valueStride] = [this.strideOf("gradients"), this.strideOf("gradient-values")];
    if (stride === undefined || valueStride === undefined) return;
    const { graph, store } = this.session;
    const report = this.reporter("gradients");
    await unlessDamaged(() =>
      inSlices(this.slotsOf("gradients", stride), ({ slot, bytes }) => {
        const { used, node } = usedBy(bytes);
        if (used === 0 || used > 3 || !graph.isLive(node)) return; // the latter two are told slot by slot elsewhere
        const values = this.read("gradient-values", slot * valueStride, 12 * this.world.dimensions);
        const fault = gradientFault(bytes, values, this.world, store.log.lastLsn);
        if (fault !== undefined) report(slot * stride, `slot ${slot} ${fault}`);
      }),
    );
  }

  /** What takes the faults of a section, and lists so many of them. */
  private reporter(section: string): (at: number, message: string) => void {
    let count = 0;
    return (at, message) => {
      if (++count <= LISTED) this.faults.push(faultAt(this.session, section, at, message));
      else if (count === LISTED + 1) this.faults.push(faultAt(this.session, section, at, "and more of this kind"));
    };
  }

  private read(section: string, at: number, length: number): Uint8Array {
    return this.session.store.region.read(LEARNED_SECTIONS.get(section)!, at, length);
  }

  private strideOf(section: string): number | undefined {
    return this.session.store.meta.sections.find(({ name }) => name === section)?.stride;
  }

  private slotsOf(section: string, stride: number): ReturnType<typeof slotsIn> {
    return slotsIn((at, length) => this.read(section, at, length), stride);
  }
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
