// Purple Sector's telemetry from Node, in both directions. It needs the three packages of package.json and telemetry.proto.
//
//   node telemetry.mjs send PROTO BROKERS TOPIC SESSION USER < lines     one {"session": …} or {"telemetry": …} a line
//   node telemetry.mjs read PROTO BROKERS TOPIC > lines                  all that the topic holds, and what comes, until Ctrl-C
//
// The contract: the key of a record is its session, three headers say the same of whom and how, and the facts of a session
// ({"session": {"game": …, "track": …}}) come before its first frame. Names in JSON are those of protobuf: lapTime, not
// lap_time; 64-bit numbers are strings there, because JavaScript's own end at 2^53.
import { createInterface } from "node:readline";
import kafkajs from "kafkajs";
import lz4 from "lz4-napi";
import protobuf from "protobufjs";

const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = kafkajs;
const RECORDS_AT_ONCE = 500;

// Collectors write LZ4, which KafkaJS leaves to others: frames of it, not bare blocks.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});

const [command, proto, brokers, topic, session, user] = process.argv.slice(2);
const root = await protobuf.load(proto);
const Frame = root.lookupType("purplesector.TelemetryFrame");
const Message = root.lookupType("purplesector.TelemetryMessage");
const kafka = new Kafka({ clientId: "telemetry.mjs", brokers: brokers.split(","), logLevel: logLevel.ERROR });

/** A record's value: a frame travels bare, everything else in a TelemetryMessage. */
function encode({ telemetry, ...others }) {
  if (telemetry) return Frame.encode(Frame.fromObject(telemetry)).finish();
  return Message.encode(Message.fromObject({ ...others, sessionId: session })).finish();
}

/** What a value says, whichever of its three forms it has: its first byte tells them apart. */
function decode(value) {
  if (value[0] === "{".charCodeAt(0)) {
    const said = JSON.parse(value);
    return said.telemetry || said.session ? said : { telemetry: said };
  }
  const plain = { longs: String, enums: Number };
  if ((value[0] & 7) === 2) return Message.toObject(Message.decode(value), plain);
  return { telemetry: Frame.toObject(Frame.decode(value), plain) };
}

async function send() {
  // Java's partitioner, as every client must have it: one session, one partition.
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  const headers = { sessionId: session, userId: user, encoding: "protobuf" };
  let messages = [];
  const flush = async () => {
    await producer.send({ topic, messages, acks: -1, compression: CompressionTypes.LZ4 });
    messages = [];
  };
  await producer.connect();
  for await (const line of createInterface({ input: process.stdin })) {
    const said = JSON.parse(line);
    const at = said.telemetry?.timestamp ?? said.session?.startedAt;
    messages.push({ key: session, value: encode(said), headers, timestamp: at && String(at) });
    if (messages.length === RECORDS_AT_ONCE) await flush();
  }
  if (messages.length) await flush();
  await producer.disconnect();
}

async function read() {
  // A fetch that finds nothing waits that long, and so does Ctrl-C.
  const reader = { groupId: `telemetry.mjs-${process.pid}`, maxWaitTimeInMs: 500, allowAutoTopicCreation: false };
  const consumer = kafka.consumer(reader);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message: { key, value, headers } }) => {
      const said = Object.entries(headers).map(([name, bytes]) => [name, String(bytes)]);
      const record = { key: String(key), partition, headers: Object.fromEntries(said), ...decode(value) };
      process.stdout.write(`${JSON.stringify(record)}\n`);
    },
  });
}

await { send, read }[command]();
