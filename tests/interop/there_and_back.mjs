// What is left of frames when protobufjs has decoded and encoded them: node there_and_back.mjs PROTO, a line of hexadecimal each.
import { createInterface } from "node:readline";
import protobuf from "protobufjs";

const Frame = (await protobuf.load(process.argv[2])).lookupType("purplesector.TelemetryFrame");

for await (const line of createInterface({ input: process.stdin })) {
  const frame = Frame.decode(Buffer.from(line, "hex"));
  console.log(Buffer.from(Frame.encode(frame).finish()).toString("hex"));
}
