import type { Feedback, TrainOptions } from "../types.js";
import type { Session } from "./session.js";
export class Trainer { constructor(private readonly session: Session) {} async learn(_e: Feedback[]) { this.session.checkOpen(); } async train(_o: TrainOptions) {} }
