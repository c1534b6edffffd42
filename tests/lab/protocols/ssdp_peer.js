// Searches, or is a device: node ssdp_peer.js search TARGET | serve TARGET ADDRESS
const ssdp = require('node-ssdp');

const [role, target, address] = process.argv.slice(2);
if (role === 'search') {
  const client = new ssdp.Client({interfaces: ['eth0'], explicitSocketBind: true});
  client.on('response', (fields, code, from) => {
    console.log('answer', code, fields.ST, 'at', fields.LOCATION, 'from', from.address, from.port);
  });
  client.start().then(() => client.search(target));
} else {
  const server = new ssdp.Server({
    interfaces: ['eth0'], location: `http://${address}/device.xml`, udn: 'uuid:of-node', adInterval: 500,
  });
  server.addUSN(target);
  server.start().then(() => console.log('ready'));
  // Its own stop() closes the sockets before it has said goodbye.
  process.stdin.resume().on('end', () => server.advertise(false));
}
// The library's sockets alone do not keep a program running.
setInterval(() => {}, 1000);
