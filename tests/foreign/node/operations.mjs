// Does AWS's JavaScript client work with the edge? Run by tests/tests/sdk_javascript.rs, with the
// environment that AWS's clients read; one line of JSON says what came of each call.
import * as iot from "@aws-sdk/client-iot";
import * as wireless from "@aws-sdk/client-iot-wireless";
import { createInterface } from "node:readline";

const { operation, withCoap } = await import(process.argv[2]);
const client = withCoap(new wireless.IoTWirelessClient({}));
const plain = new wireless.IoTWirelessClient({});
const core = new iot.IoTClient({});

const said = {};
const call = (name, input = {}) => client.send(new wireless[`${name}Command`](input));
const extra = (name, input) => operation(client, wireless.GetServiceEndpointCommand, name, input);

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return [error.name, error.constructor.name, error.$metadata?.httpStatusCode];
  }
  return null;
}

const RoleArn = "arn:aws:iam::123456789012:role/tidegate";
const DtlsV1_2 = { PreSharedKeyIdentity: "j".repeat(40), PreSharedKeySecret: "s".repeat(32) };
await call("CreateDestination", { Name: "js", ExpressionType: "MqttTopic", Expression: "js/up", RoleArn });
const { Id, Arn } = await call("CreateWirelessDevice", {
  Type: "CoAP",
  Name: "from JavaScript ü",
  DestinationName: "js",
  Tags: [{ Key: "site", Value: "north" }],
  Cellular: { Imei: "490154203237518", DtlsV1_2 },
});
said.id = Id;
const read = await call("GetWirelessDevice", { Identifier: "490154203237518", IdentifierType: "Imei" });
said.read = [read.Id === Id, read.Name, read.Cellular];
await call("UpdateWirelessDevice", { Id, Cellular: { Endpoint: "127.0.0.1:5684" }, Description: "changed" });
said.endpoint = (await call("GetWirelessDevice", { Identifier: Id, IdentifierType: "WirelessDeviceId" })).Cellular
  .Endpoint;
await call("UpdateWirelessDevice", { Id, Cellular: { Endpoint: "" } });

// Operations of the overlay: a profile, and the device in it.
const profile = await extra("CreateApplicationProfile", { Name: "slow", NStart: 2 });
await extra("UpdateApplicationProfile", { Id: profile.Id, MaxRetransmit: 2 });
said.profile = await extra("GetApplicationProfile", { Id: profile.Id });
said.profile.isSame = said.profile.Id === profile.Id;
await call("UpdateWirelessDevice", { Id, ApplicationProfileId: profile.Id });
const listed = await call("ListWirelessDevices", { ApplicationProfileId: profile.Id, MaxResults: 5 });
said.listed = listed.WirelessDeviceList.map((device) => device.Name);
said.profiles = (await extra("ListApplicationProfiles", { MaxResults: 5 })).ApplicationProfileList.length;

// Without the overlay the message has no CoAP member, and nothing is guessed.
const request = { RequestMethod: "PUT", UriPaths: ["led"], QueueMode: 1, Priority: "HIGH" };
const message = { Id, TransmitMode: 1, PayloadData: Buffer.from("on").toString("base64") };
const send = (by, CoAP) => by.send(new wireless.SendDataToWirelessDeviceCommand({ ...message, CoAP }));
said.without = await refused(send(plain, request));
const sent = await send(client, request);
const queued = await call("ListQueuedMessages", { Id });
said.queued = queued.DownlinkQueueMessagesList.map(({ MessageId, CoAP, ReceivedAt }) => [
  MessageId === sent.MessageId,
  CoAP,
  typeof ReceivedAt,
]);
said.status = (await extra("GetMessageStatus", { Id, MessageId: sent.MessageId })).Status;
const second = await send(client, { ...request, Priority: "LOW" });
await call("DeleteQueuedMessages", { Id, MessageId: second.MessageId });
said.deleted = (await extra("GetMessageStatus", { Id, MessageId: second.MessageId })).Status;

// Nested members of the overlay.
const on = { CoAP: { WirelessDeviceEventTopic: "Enabled" } };
await call("UpdateEventConfigurationByResourceTypes", { Join: on, ConnectionStatus: on });
said.events = (await call("GetEventConfigurationByResourceTypes")).Join;
await call("TagResource", { ResourceArn: Arn, Tags: [{ Key: "k", Value: "v" }] });
await call("UntagResource", { ResourceArn: Arn, TagKeys: ["site"] });
said.tags = (await call("ListTagsForResource", { ResourceArn: Arn })).Tags;

// Pages, each with one device, by the client's own paginator.
for (const number of [1, 2]) {
  const key = { ...DtlsV1_2, PreSharedKeyIdentity: `${number}`.repeat(40) };
  await call("CreateWirelessDevice", { Type: "CoAP", DestinationName: "js", WiFi: { DtlsV1_2: key } });
}
let pages = 0;
let devices = 0;
for await (const page of wireless.paginateListWirelessDevices({ client, pageSize: 1 }, {})) {
  pages += page.WirelessDeviceList.length > 0;
  devices += page.WirelessDeviceList.length;
}
said.pages = [pages, devices];

const nobody = "00000000-0000-4000-8000-000000000000";
said.refused = [
  await refused(call("GetDestination", { Name: "none" })),
  await refused(call("DeleteDestination", { Name: "js" })),
  await refused(call("ListWirelessDevices", { WirelessDeviceType: "Toaster" })),
  await refused(extra("GetMessageStatus", { Id, MessageId: nobody })),
  await refused(extra("CreateApplicationProfile", { NStart: 9 })),
];

// Rules, by the client of AWS IoT as it is.
const republish = (topic) => ({ republish: { topic, roleArn: RoleArn, qos: 1 } });
const rule = { sql: "SELECT * FROM 'js/#'", actions: [republish("copy")], awsIotSqlVersion: "2016-03-23" };
await core.send(new iot.CreateTopicRuleCommand({ ruleName: "js", topicRulePayload: rule }));
const got = (await core.send(new iot.GetTopicRuleCommand({ ruleName: "js" }))).rule;
said.rule = [got.sql, got.actions, got.createdAt instanceof Date];
said.rules = (await core.send(new iot.ListTopicRulesCommand({}))).rules.map((rule) => rule.topicPattern);
const taken = core.send(new iot.CreateTopicRuleCommand({ ruleName: "js", topicRulePayload: rule }));
said.refused.push(await refused(taken));
await core.send(new iot.DeleteTopicRuleCommand({ ruleName: "js" }));

// The story has a device take the message; then what became of it.
console.log(JSON.stringify({ ...said, message: sent.MessageId }));
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break;
}
const ended = await extra("GetMessageStatus", { Id, MessageId: sent.MessageId });
await call("DeleteWirelessDevice", { Id });
const gone = await refused(call("GetWirelessDevice", { Identifier: Id, IdentifierType: "WirelessDeviceId" }));
console.log(JSON.stringify({ status: ended.Status, response: ended.ResponseStatus, gone }));
process.exit(0);
