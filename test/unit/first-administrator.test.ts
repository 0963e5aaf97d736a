/** The user that a start makes of the first administrator and the password in a file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstAdministratorOf } from '@cmbs/shared/access';

const directory = mkdtempSync(join(tmpdir(), 'cmbs-password-'));
const file = join(directory, 'password');
afterAll(() => rmSync(directory, { recursive: true }));

const read = (content: string, ...names: readonly string[]): ReturnType<typeof firstAdministratorOf> => {
  writeFileSync(file, content);
  return firstAdministratorOf({ CMBS_ADMIN_PASSWORD_FILE: file, CMBS_ADMINISTRATORS: names });
};

describe('the first administrator', () => {
  it.each(['correct horse battery', 'correct horse battery\n', 'correct horse battery\r\nmore\n'])(
    'is the first of the administrators, with the first line of the file: %j',
    (content) => {
      expect(read(content, 'root', 'other')).toEqual({ name: 'root', password: 'correct horse battery' });
    },
  );

  it('does not exist without a file', () => {
    const settings = { CMBS_ADMIN_PASSWORD_FILE: undefined, CMBS_ADMINISTRATORS: ['root'] };
    expect(firstAdministratorOf(settings)).toBeUndefined();
  });

  it.each([
    ['', 'root', 'is empty; write the password of root in its first line.'],
    ['\npassword', 'root', 'is empty'],
    [
      'short',
      'root',
      'root cannot be a user with this password. cmbs.access.user.password takes 8 characters at least.',
    ],
    ['a\u0007 bell in it', 'root', 'has a password with control characters; remove them.'],
    [
      'correct horse',
      'CN=alice,O=Example',
      "CN=alice,O=Example cannot be a user with this password. A user's name has",
    ],
    ['correct horse', 'system', 'system is no name for a user'],
  ])('is refused, with the reason, for a file with %j and the name %s', (content, name, says) => {
    expect(() => read(content, name)).toThrow(`CMBS_ADMIN_PASSWORD_FILE: `);
    expect(() => read(content, name)).toThrow(says);
    expect(() => read(content, name)).not.toThrow('correct horse');
  });

  it('is refused, with the reason, when the file cannot be read', () => {
    const settings = { CMBS_ADMIN_PASSWORD_FILE: join(directory, 'nothing'), CMBS_ADMINISTRATORS: ['root'] };
    expect(() => firstAdministratorOf(settings)).toThrow(
      'CMBS_ADMIN_PASSWORD_FILE: the file cannot be read: ENOENT',
    );
  });
});
