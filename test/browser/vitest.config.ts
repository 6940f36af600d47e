/** `npm run test:browser`: what needs a browser on the machine, and is therefore not part of `npm test`. */
import base from "../../vitest.config.js";

export default { ...base, test: { ...base.test, include: ["test/browser/*.browser.ts"], maxWorkers: 1 } };
