#!/usr/bin/env node
/** The program: parse, call the library, print. Exit codes: 0 done, 1 data or machine, 2 usage. */
import { runProgram } from './program.js';

process.exitCode = await runProgram(process.argv.slice(2));
