/** Another process that repairs a store, until it is killed. Argument: the directory. */
import { repair } from "../../dist/src/index.js";

process.send("begins");
const { repaired } = await repair(process.argv[2], { acceptLoss: true });
process.send({ repaired });
process.disconnect();
