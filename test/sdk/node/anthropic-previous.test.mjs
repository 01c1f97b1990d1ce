// The major before the newest of Anthropic's SDK: the API's first version, keys in x-api-key, betas at a path of their own.

import Anthropic from 'anthropic-previous';
import { betaZodTool } from 'anthropic-previous/helpers/beta/zod';
import { zodOutputFormat } from 'anthropic-previous/helpers/zod';

import { suite } from './anthropic.mjs';

suite({
  sdk: Anthropic, zodOutputFormat, betaZodTool, version: '2023-06-01', betaPath: '/v1/messages?beta=true', threads: false,
  classes: {
    400: Anthropic.BadRequestError, 403: Anthropic.PermissionDeniedError, 413: Anthropic.APIError, 429: Anthropic.RateLimitError, 502: Anthropic.InternalServerError,
    504: Anthropic.InternalServerError, 529: Anthropic.InternalServerError,
  },
});
