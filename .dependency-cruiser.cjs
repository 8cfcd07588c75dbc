/** Imports point down: each room may import only the rooms below it. Checked by `npm run check`. */
const rooms = [
  ['cli'],
  ['ui'],
  ['serve', 'reports'],
  ['train'],
  ['model'],
  ['methods'],
  ['output'],
  ['nn', 'optim'],
  ['ops'],
  ['autograd'],
  ['store', 'metrics', 'clusters'],
  ['data'],
  ['tensor'],
  ['kernels'],
  ['client', 'pictures'],
];
const ground = [
  'src/errors.ts',
  'src/files.ts',
  'src/nesting.ts',
  'src/parsed.ts',
  'src/promises.ts',
  'src/version.ts',
];

const upward = rooms.flatMap((level, depth) =>
  level.map((room) => ({
    name: `${room}-imports-only-down`,
    severity: 'error',
    from: { path: `^src/${room}/` },
    to: {
      path: '^src/(?!.*\\.testing\\.ts$)',
      pathNot: [
        `^src/${room}/`,
        ...rooms
          .slice(depth + 1)
          .flat()
          .map((below) => `^src/${below}/`),
        ...ground.map((file) => `^${file}$`),
        ...(room === 'cli' ? ['^src/[a-z-]+\\.ts$'] : []),
      ],
    },
  })),
);

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'ground-imports-nothing-above',
      severity: 'error',
      from: { path: `^(${ground.join('|')})$` },
      to: { path: '^src/', pathNot: `^(${ground.join('|')})$` },
    },
    ...upward,
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.(test|testing)\\.ts$' },
  },
};
