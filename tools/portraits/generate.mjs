// node generate.mjs > parts.json
// The parts of DiceBear Pixel Art 9.4.3 (design CC0 1.0, code MIT) as SVG fragments with the
// placeholder colour COLOR, and a few complete avatars drawn by DiceBear itself, with which
// make_pack.py proves that it puts the parts together in the same way.
import { createAvatar } from '@dicebear/core';
import * as style from '@dicebear/pixel-art';

const entry = import.meta.resolve('@dicebear/pixel-art');
const components = await import(new URL('./components/index.js', entry));

const COLOR = new Proxy({}, { get: () => 'COLOR' });
const groups = ['accessories', 'clothing', 'eyes', 'glasses', 'mouth', 'hair', 'hat'];
const parts = Object.fromEntries(
  groups.map((group) => [
    group,
    Object.fromEntries(
      Object.entries(components[group]).map(([name, draw]) => [name, draw({}, COLOR)]),
    ),
  ]),
);
const nothing = { prng: { pick: () => undefined, bool: () => false }, options: {} };
parts.face = { face: style.create(nothing).body.replaceAll('#undefined', 'COLOR') };

const colors = Object.fromEntries(
  Object.entries(style.schema.properties)
    .filter(([name]) => name.endsWith('Color'))
    .map(([name, { default: values }]) => [name.replace('Color', ''), values]),
);

const references = Array.from({ length: 100 }, (_, i) => {
  const options = {
    seed: `avatar ${i}`,
    size: 16,
    beardProbability: 0,
    glassesProbability: 50,
    hatProbability: 50,
    accessoriesProbability: 50,
  };
  const { svg, extra } = createAvatar(style, options).toJson();
  return { svg, extra };
});

process.stdout.write(JSON.stringify({ parts, colors, references }));
