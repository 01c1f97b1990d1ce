// The newest major of Anthropic's SDK: the API's newest version, a class of errors for each status, keys as bearers.

import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';

import { suite } from './anthropic.mjs';

suite({
  sdk: Anthropic, zodOutputFormat, betaZodTool, version: '2026-10-21', betaPath: '/v1/messages', threads: true,
  classes: {
    400: Anthropic.BadRequestError, 403: Anthropic.PermissionDeniedError, 413: Anthropic.ContentTooLargeError, 429: Anthropic.RateLimitError, 502: Anthropic.InternalServerError,
    504: Anthropic.GatewayTimeoutError, 529: Anthropic.OverloadedError,
  },
});
