/** Facts of oBIX in binary: documents in XML, and the bytes that the encoder of a gateway made of them. */

export interface Vector {
  readonly xml: string;
  readonly hex: string;
}

export const VECTORS: readonly Vector[] = [
  { xml: '<bool val="true"/>', hex: '09' },
  { xml: '<int val="300"/>', hex: '0d012c' },
  { xml: '<int val="-1"/>', hex: '0effffffff' },
  { xml: '<int val="5000000000"/>', hex: '0f000000012a05f200' },
  {
    xml: '<int name="v" val="42" min="0" max="100" unit="obix:units/percent" writable="true"/>',
    hex: '8c2ab400b864bc6f6269783a756e6974732f70657263656e740088760031',
  },
  {
    xml: '<abstime val="2000-01-01T00:00:10Z" tz="Europe/Vienna"/>',
    hex: 'a00000000a484575726f70652f5669656e6e6100',
  },
  { xml: '<reltime val="PT60S" writable="true"/>', hex: 'a40000003c31' },
  { xml: '<reltime val="PT1M0.5S"/>', hex: '250000000e1614bd00' },
  {
    xml: '<list of="obix:int"><int val="1"/><int val="2"/></list>',
    hex: 'b0946f6269783a696e7400040c010c0244',
  },
  { xml: '<obj null="true"/>', hex: '8421' },
  {
    xml: '<err is="obix:BadUriErr" display="Object not found"/>',
    hex: 'c0906f6269783a426164557269457272002c4f626a656374206e6f7420666f756e6400',
  },
  {
    xml: '<obj href="/VirtualDevices/virtualLight/" is="iot:LightSwitchActuator"><bool name="value" href="value" val="false" displayName="On/Off" writable="true"/></obj>',
    hex:
      '848c2f5669727475616c446576696365732f7669727475616c4c696768742f0090696f743a4c6967687453776974636841637475' +
      '61746f720004888876616c7565008d0002a84f6e2f4f6666003144',
  },
];
